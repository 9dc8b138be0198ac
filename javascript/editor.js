// The canvas on which regions are drawn. The plan's text box is the only state: the editor shows what stands there and writes it there.

class MixdiffEditor {
    static COLORS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000"];
    static CELL_PX = 8;
    static TEMPLATES = {
        "two columns": [2, 1], "three columns": [3, 1], "two rows": [1, 2], "three rows": [1, 3], "four quadrants": [2, 2], "grid of nine": [3, 3],
    };
    static FIELDS = [["prompt", "Prompt", "textarea", "the job's own"], ["negative_prompt", "Negative prompt", "textarea", "the job's own"],
        ["cfg_scale", "CFG Scale", "number", "the job's own"], ["weight", "Weight", "number", "1"], ["seed", "Seed", "number", "the job's noise"]];

    constructor(root, tab) {
        this.root = root;
        this.tab = tab;
        this.plan = {};
        this.selected = 0;
        this.past = [];
        this.future = [];
        this.text = document.querySelector(`[id*=script_${tab}][id$=mixdiff_plan] textarea`);
        this.enabled = document.querySelector(`[id*=script_${tab}][id$=mixdiff_enabled] input`);
        this.build();
        this.text.addEventListener("input", () => this.text.value !== this.written && this.read());
        document.addEventListener("input", (event) => {
            if (!event.target.closest(`[id^=${tab}_]`)) return;
            this.arrange();
            this.check();
        });
        new IntersectionObserver(() => this.check()).observe(this.root);
        new ResizeObserver(() => this.arrange()).observe(this.root);
        setInterval(() => this.root.offsetParent !== null && this.fresh(), 300);         // gradio tells of what it writes to nobody
        this.read();
    }

    // --- the plan ---

    get regions() {
        return this.plan.regions || [];
    }

    get region() {
        return this.regions[this.selected];
    }

    read() {
        this.written = this.text.value;
        try {
            const plan = this.text.value.trim() ? JSON.parse(this.text.value) : {};
            const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
            const isBox = (box) => box === undefined || box === null || (Array.isArray(box) && box.length === 4 && box.every(Number.isFinite));
            const regions = isObject(plan) && (plan.regions || []);
            if (!Array.isArray(regions) || !regions.every((region) => isObject(region) && isBox(region.box))) {
                throw new SyntaxError("a plan is an object, its regions a list of objects, a box four numbers");
            }
            this.plan = plan;
            this.say("");
        } catch (error) {
            clearTimeout(this.waiting);
            this.say(`The plan below cannot be drawn, it is not JSON: ${error.message}`, true);
            return;
        }
        this.show();
    }

    // What was pasted in the meantime.
    fresh() {
        if (this.text.value !== this.written) this.read();
    }

    // Every edit is one change of a copy of the plan; `again` says that it goes on with the last one, which one undo takes back.
    edit(change, again = false) {
        this.fresh();
        const plan = JSON.parse(JSON.stringify(this.plan));
        plan.regions = plan.regions || [];
        change(plan);
        const text = MixdiffEditor.spelled(plan);
        if (text === this.written) return false;
        if (!again) this.past.push(this.written);
        this.future = [];
        this.plan = plan;
        this.write(text);
        if (plan.regions.length && this.enabled && !this.enabled.checked) this.enabled.click();
        return true;
    }

    // JSON with lists of numbers on one line.
    static spelled(plan) {
        return JSON.stringify(plan, null, 1).replace(/\[\s+([-\d.,\s]+?)\s+\]/g, (_, numbers) => `[${numbers.replace(/\s+/g, " ")}]`);
    }

    write(text) {
        this.written = this.text.value = text;
        this.show();
        this.text.dispatchEvent(new Event("input", {bubbles: true}));
    }

    undo(from, to) {
        this.fresh();
        if (!from.length) return;
        to.push(this.written);
        this.text.value = from.pop();
        this.read();
        this.text.dispatchEvent(new Event("input", {bubbles: true}));
    }

    add(box) {
        this.edit((plan) => plan.regions.push({box}));
        this.select(this.regions.length - 1);
        return true;
    }

    remove() {
        if (!this.region) return;
        this.edit((plan) => plan.regions.splice(this.selected, 1));
        this.select(this.selected);
    }

    duplicate() {
        if (!this.region) return;
        const copy = JSON.parse(JSON.stringify(this.region));
        delete copy.name;
        copy.box = this.moved(copy.box || [0, 0, 1, 1], this.cell[0], this.cell[1]);
        this.edit((plan) => plan.regions.splice(this.selected + 1, 0, copy));
        this.select(this.selected + 1);
    }

    reorder(by) {
        const to = this.selected + by;
        if (!this.region || to < 0 || to >= this.regions.length) return;
        this.edit((plan) => plan.regions.splice(to, 0, ...plan.regions.splice(this.selected, 1)));
        this.select(to);
    }

    // Neighbours overlap by a quarter of their size, so that they melt; what is drawn already keeps its words.
    template(columns, rows) {
        const old = this.regions;
        const sides = (n, i) => [Math.max(0, (i - 0.125) / n), Math.min(1, (i + 1.125) / n)];
        this.edit((plan) => {
            plan.regions = [];
            for (let y = 0; y < rows; y++) {
                for (let x = 0; x < columns; x++) {
                    const [left, right] = sides(columns, x), [top, bottom] = sides(rows, y);
                    plan.regions.push({...old[plan.regions.length], box: this.snapped([left, top, right, bottom])});
                }
            }
        });
        this.select(0);
    }

    // --- geometry: boxes are fractions [left, top, right, bottom] of the canvas ---

    get size() {
        const side = (name) => Number(document.querySelector(`#${this.tab}_${name} input`)?.value) || 512;
        return [side("width"), side("height")];
    }

    get cell() {
        return this.size.map((side) => MixdiffEditor.CELL_PX / side);
    }

    snapped(box) {
        return box.map((value, i) => {
            const cell = this.cell[i % 2];
            return Number(Math.min(1, Math.max(0, Math.round(value / cell) * cell)).toFixed(12));
        });
    }

    moved([left, top, right, bottom], x, y) {
        x = Math.min(1 - right, Math.max(-left, x));
        y = Math.min(1 - bottom, Math.max(-top, y));
        return this.snapped([left + x, top + y, right + x, bottom + y]);
    }

    // Only the sides named in `sides` (of "nesw") move; a region keeps at least one cell.
    resized(box, sides, x, y) {
        const [left, top, right, bottom] = box, [w, h] = this.cell;
        return this.snapped([
            sides.includes("w") ? Math.min(left + x, right - w) : left, sides.includes("n") ? Math.min(top + y, bottom - h) : top,
            sides.includes("e") ? Math.max(right + x, left + w) : right, sides.includes("s") ? Math.max(bottom + y, top + h) : bottom]);
    }

    // --- what is seen ---

    element(tag, className, parent, attributes = {}) {
        const made = document.createElement(tag);
        made.className = className;
        for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
        parent?.append(made);
        return made;
    }

    button(text, title, parent, act) {
        const made = this.element("button", "lg secondary gradio-button", parent, {type: "button", title, "aria-label": title});
        made.textContent = text;
        made.addEventListener("click", act);
        return made;
    }

    build() {
        this.root.replaceChildren();
        const bar = this.element("div", "mixdiff-bar", this.root, {role: "toolbar", "aria-label": "Regions"});
        const templates = this.element("select", "mixdiff-template", bar, {"aria-label": "Template"});
        for (const name of ["Template…", ...Object.keys(MixdiffEditor.TEMPLATES)]) this.element("option", "", templates).textContent = name;
        templates.addEventListener("change", () => {
            if (templates.selectedIndex) this.template(...MixdiffEditor.TEMPLATES[templates.value]);
            templates.selectedIndex = 0;
        });
        this.button("Add", "Add a region in the middle", bar, () => this.add(this.snapped([0.25, 0.25, 0.75, 0.75])));
        this.button("Duplicate", "Duplicate the region (Ctrl+D)", bar, () => this.duplicate());
        this.button("Delete", "Delete the region (Del)", bar, () => this.remove());
        this.button("↑", "Earlier in the list", bar, () => this.reorder(-1));
        this.button("↓", "Later in the list", bar, () => this.reorder(1));
        this.button("Undo", "Undo (Ctrl+Z)", bar, () => this.undo(this.past, this.future));
        this.button("Redo", "Redo (Ctrl+Shift+Z)", bar, () => this.undo(this.future, this.past));
        this.stage = this.element("div", "mixdiff-stage", this.root, {tabindex: -1, role: "group", "aria-label": "Canvas: drag to draw a region"});
        this.stage.addEventListener("pointerdown", (event) => this.drag(event));
        this.root.addEventListener("keydown", (event) => this.key(event));
        this.note = this.element("div", "mixdiff-note", this.root, {role: "status"});
        this.list = this.element("div", "mixdiff-list", this.root);
    }

    say(text, bad = false) {
        this.note.textContent = text;
        this.note.classList.toggle("error", bad);
    }

    color(index) {
        return MixdiffEditor.COLORS[index % MixdiffEditor.COLORS.length];
    }

    show() {
        const words = (region, i) => region.name || region.prompt || `region ${i + 1}`;
        const focused = this.stage.contains(document.activeElement);
        this.selected = Math.max(0, Math.min(this.selected, this.regions.length - 1));
        this.stage.replaceChildren(...this.regions.map((region, i) => {
            const box = this.element("div", "mixdiff-box", null, {tabindex: 0, role: "button", "data-index": i, "aria-label": `Region ${i + 1}: ${words(region, i)}`});
            box.style.setProperty("--color", this.color(i));
            this.element("span", "mixdiff-label", box).textContent = `${i + 1} ${words(region, i)}`;
            for (const sides of ["n", "e", "s", "w", "nw", "ne", "se", "sw"]) this.element("i", `mixdiff-handle ${sides}`, box, {"data-sides": sides});
            box.addEventListener("focus", () => this.select(i, false));
            return box;
        }));
        if (this.list.childElementCount !== this.regions.length) this.list.replaceChildren(...this.regions.map((region, i) => this.panel(i)));
        this.regions.forEach((region, i) => this.fill(this.list.children[i], region));
        this.arrange();
        this.mark();
        this.check();
        if (focused) (this.stage.children[this.selected] || this.stage).focus({preventScroll: true});
    }

    arrange() {
        const [width, height] = this.size;
        this.stage.style.aspectRatio = `${width} / ${height}`;
        [...this.stage.children].forEach((element, i) => {
            const [left, top, right, bottom] = this.regions[i].box || [0, 0, 1, 1];
            Object.assign(element.style, {left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%`});
        });
    }

    panel(i) {
        const panel = this.element("fieldset", "mixdiff-panel", null);
        panel.style.setProperty("--color", this.color(i));
        this.element("legend", "", panel).textContent = `Region ${i + 1}`;
        for (const [key, title, kind, otherwise] of MixdiffEditor.FIELDS) {
            const label = this.element("label", `mixdiff-${kind}`, panel);
            this.element("span", "", label).textContent = title;
            const field = this.element(kind === "number" ? "input" : "textarea", "", label, kind === "number" ? {type: "number", step: "any"} : {rows: 2});
            field.dataset.key = key;
            field.placeholder = otherwise;
            let typing = false;
            field.addEventListener("input", (event) => {
                event.stopPropagation();
                const value = field.value === "" ? null : kind === "number" ? Number(field.value) : field.value;
                this.edit((plan) => {
                    if (value === null) delete plan.regions[i][key];
                    else plan.regions[i][key] = value;
                }, typing);
                typing = true;
            });
            field.addEventListener("blur", () => { typing = false; });
            field.addEventListener("focus", () => this.select(i, false));
        }
        return panel;
    }

    fill(panel, region) {
        for (const field of panel.querySelectorAll("[data-key]")) {
            const value = region[field.dataset.key];
            if (field !== document.activeElement) field.value = value === null || value === undefined ? "" : value;
        }
    }

    select(index, focus = true) {
        this.selected = index;
        this.mark();
        if (focus) this.stage.children[index]?.focus({preventScroll: true});
    }

    mark() {
        for (const group of [this.stage, this.list]) [...group.children].forEach((element, i) => element.classList.toggle("selected", i === this.selected));
    }

    // --- hands ---

    drag(event) {
        if (event.button) return;
        this.fresh();
        event.preventDefault();
        const rect = this.stage.getBoundingClientRect();
        const at = (e) => [(e.clientX - rect.left) / rect.width, (e.clientY - rect.top) / rect.height];
        const start = at(event), hit = event.target.closest(".mixdiff-box"), sides = event.target.dataset.sides;
        let first = null, again = false;
        if (hit) {
            this.select(Number(hit.dataset.index));
            first = this.region.box || [0, 0, 1, 1];
        }
        const move = (e) => {
            const [x, y] = at(e);
            if (!again && Math.hypot((x - start[0]) * rect.width, (y - start[1]) * rect.height) < 4) return;
            let box;
            if (!hit) box = this.snapped([Math.min(start[0], x), Math.min(start[1], y), Math.max(start[0], x), Math.max(start[1], y)]);
            else if (sides) box = this.resized(first, sides, x - start[0], y - start[1]);
            else box = this.moved(first, x - start[0], y - start[1]);
            if (box[2] <= box[0] || box[3] <= box[1]) return;
            if (!hit && !again) again = this.add(box);
            else again = this.edit((plan) => { plan.regions[this.selected].box = box; }, again) || again;
        };
        const end = () => {
            window.removeEventListener("pointermove", move);
            window.removeEventListener("pointerup", end);
            window.removeEventListener("pointercancel", end);
            this.stage.children[this.selected]?.focus({preventScroll: true});
        };
        window.addEventListener("pointermove", move);
        window.addEventListener("pointerup", end);
        window.addEventListener("pointercancel", end);
    }

    key(event) {
        this.fresh();
        const inField = event.target.matches("textarea, input, select"), command = event.ctrlKey || event.metaKey;
        const arrows = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
        if (command && event.key.toLowerCase() === "z" && !inField) event.shiftKey ? this.undo(this.future, this.past) : this.undo(this.past, this.future);
        else if (inField || !event.target.matches(".mixdiff-box")) return;
        else if (command && event.key.toLowerCase() === "d") this.duplicate();
        else if (event.key === "Delete" || event.key === "Backspace") this.remove();
        else if (command || event.altKey) return;           // the WebUI's own
        else if (event.key === "Enter") this.list.children[this.selected]?.querySelector("textarea").focus();
        else if (arrows) {
            const [x, y] = arrows.map((n, i) => n * this.cell[i]), box = this.region.box || [0, 0, 1, 1];
            this.edit((plan) => { plan.regions[this.selected].box = event.shiftKey ? this.resized(box, "es", x, y) : this.moved(box, x, y); });
        } else return;
        event.preventDefault();
        event.stopPropagation();
    }

    // --- what the server says of it ---

    // The fields of the tab that a request would have.
    get job() {
        const input = (id) => document.querySelector(`#${this.tab}_${id} input`), number = (id) => Number(input(id)?.value) || undefined;
        const [width, height] = this.size;
        const job = {width, height, steps: number("steps"), cfg_scale: number("cfg_scale"), batch_size: number("batch_size"), n_iter: number("batch_count"),
            denoising_strength: number("denoising_strength"), sampler_name: input("sampling")?.value};
        if (this.tab === "img2img") return {...job, init_images: []};
        if (!document.querySelector("#txt2img_hr-checkbox input")?.checked) return job;
        return {...job, enable_hr: true, hr_scale: number("hr_scale"), hr_resize_x: number("hr_resize_x"), hr_resize_y: number("hr_resize_y"),
            hr_second_pass_steps: number("hires_steps")};
    }

    check() {
        clearTimeout(this.waiting);
        if (this.root.offsetParent === null) return;
        this.waiting = setTimeout(async () => {
            const asked = this.written;
            try {
                const answer = await fetch("mixdiff/v1/check", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({plan: this.plan, job: this.job})});
                const found = await answer.json();
                if (asked !== this.written) return;
                if (!answer.ok) this.say(found.errors || "the plan cannot be checked", true);
                else if (!this.regions.length) this.say("Drag on the canvas to draw a region, or take a template.");
                else this.say(`${found.cost.calls} U-Net calls, ${found.cost.work.toFixed(2)} times the work of the plain job.`);
            } catch (error) {
                this.say(`The plan could not be checked: ${error.message}`, true);
            }
        }, 300);
    }
}

(() => {
    const found = () => {
        for (const root of document.querySelectorAll(".mixdiff-editor:not([data-ready])")) {
            const tab = root.dataset.tab;
            if (!document.querySelector(`[id*=script_${tab}][id$=mixdiff_plan] textarea`)) continue;
            root.dataset.ready = "1";
            root.mixdiff = new MixdiffEditor(root, tab);
        }
    };
    new MutationObserver(found).observe(document, {childList: true, subtree: true});
    found();
})();
