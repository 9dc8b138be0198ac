// Files that bring a plan: dropped on the accordion beside the canvas, or chosen; and what the PNG-info tab shows of them.

class MixdiffFiles {
    static TYPES = ".png,.jpg,.jpeg,.webp,.json,.txt";

    static HEAD = 1 << 20;              // bytes
    static EMPTY = "Dropped here, a picture made with mixdiff brings its plan back.";

    // `root` is the editor's element; all of this stands above it, where a picture is dropped on the closed accordion.
    constructor(root) {
        this.root = root;
        this.home = root.closest("[id$=_mixdiff_mixdiff]");
        this.text = this.home.querySelector("[id$=mixdiff_plan] textarea");
        this.bar = MixdiffFiles.element("div", "mixdiff-bar mixdiff-files", {role: "toolbar", "aria-label": "Pictures and presets"});
        this.note = MixdiffFiles.element("div", "mixdiff-told", {role: "status", "data-empty": MixdiffFiles.EMPTY});
        this.bar.mixdiff = this;
        root.mixdiff.files = this;
        root.before(this.bar, this.note);
        this.button("Read a picture or plan…", "Takes the plan out of a PNG, JPG or WEBP picture, a preset, or a text", () => this.choose((file) => this.take(file, file.name)));
        this.home.addEventListener("dragover", (event) => {
            if (!this.isOurs(event)) return;
            event.preventDefault();
            event.dataTransfer.dropEffect = "copy";
        });
        this.home.addEventListener("drop", (event) => {
            const file = event.dataTransfer.files[0];
            if (!this.isOurs(event) || !file) return;
            event.preventDefault();
            if (this.root.offsetParent === null) this.home.querySelector(".label-wrap")?.click();        // the accordion is closed
            this.take(file, file.name);
        });
    }

    static element(tag, className, attributes = {}, text = "") {
        const made = document.createElement(tag);
        made.className = className;
        for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
        made.textContent = text;
        return made;
    }

    button(text, title, act) {
        const made = MixdiffFiles.element("button", "", {type: "button", title}, text);
        made.addEventListener("click", () => this.attempt(act));
        this.bar.append(made);
        return made;
    }

    // What the canvas takes is not ours.
    isOurs(event) {
        return !event.defaultPrevented && !event.target.closest(".mixdiff-stage") && event.dataTransfer.types.includes("Files");
    }

    // `act` gets the file.
    choose(act) {
        const input = MixdiffFiles.element("input", "", {type: "file", accept: MixdiffFiles.TYPES});
        input.addEventListener("change", () => this.attempt(() => act(input.files[0])));
        input.click();
    }

    async attempt(act) {
        try {
            await act();
        } catch (error) {
            this.say(error.message, [], true);
        }
    }

    // What a route answers; an Error with its sentence and status where it refuses.
    static async ask(route, options = {}) {
        const answer = await fetch(`mixdiff/v1/${route}`, options);
        const found = await answer.json().catch(() => ({}));
        if (answer.ok) return found;
        throw Object.assign(new Error(found.errors || found.detail || `the server answered ${answer.status}`), {status: answer.status});
    }

    // {plan, left_out} of a file.
    static read(file) {
        return MixdiffFiles.ask("read", {method: "POST", headers: {"Content-Type": "application/octet-stream"}, body: file});
    }

    // The plan of a file into the text box: an edit like any other, which undo takes back.
    take(file, name) {
        return this.attempt(async () => {
            this.say(`Reading ${name} …`);
            const {plan, left_out: left, infotext} = await MixdiffFiles.read(file);
            if (left.length && Object.keys(plan).every((key) => key === "v")) {
                this.say(`Nothing of ${name} was understood:`, left, true);
                return;
            }
            this.root.mixdiff.edit((old) => {
                for (const key of Object.keys(old)) delete old[key];
                Object.assign(old, plan);
                old.regions ??= [];         // as every edit has them
            });
            const enabled = this.home.querySelector("[id$=mixdiff_enabled] input");
            if (!enabled.checked) enabled.click();
            this.say(left.length ? `The plan of ${name}. Left out, or not here:` : `The plan of ${name}.`, left);
            if (infotext) this.offer("Take its prompt, seed and settings, too", () => this.paste(infotext, name));
        });
    }

    // A picture that was dropped on the canvas is a guide; its plan may have been meant.
    async alsoPlan(file) {
        if (!/Xtmixdiff\0/.test(await file.slice(0, MixdiffFiles.HEAD).text())) return;         // a text of a PNG, before its pixels
        this.say(`${file.name} is a guide now. It also carries a plan.`);
        this.offer("Take its plan instead", () => this.take(file, file.name));
    }

    // What one may want next, after what was said.
    offer(text, act) {
        const made = MixdiffFiles.element("button", "mixdiff-offer", {type: "button"}, text);
        made.addEventListener("click", () => this.attempt(act));
        this.note.append(" ", made);
    }

    // By the page's own way: the infotext into the prompt, and its button.
    paste(infotext, name) {
        const {tab} = this.root.dataset, prompt = document.querySelector(`#${tab}_prompt textarea`);
        prompt.value = infotext;
        prompt.dispatchEvent(new Event("input", {bubbles: true}));
        document.querySelector(`#${tab}_tools #paste`).click();
        this.say(`The plan, prompt, seed and settings of ${name}.`);
    }

    say(text, left = [], bad = false) {
        this.home.querySelectorAll(".mixdiff-left-out [data-pasted]").forEach((pasted) => pasted.remove());       // of another plan
        this.note.classList.toggle("error", bad);
        this.note.replaceChildren(text);
        if (!left.length) return;
        const list = MixdiffFiles.element("ul", "");
        list.append(...left.map((sentence) => MixdiffFiles.element("li", "", {}, sentence)));
        this.note.append(list);
    }

    // The tab prints every text of a PNG: ours is folded away. Its images are kept here, so that "Send to" finds them.
    static fold(tab) {
        for (const bold of tab.querySelectorAll("p > b")) {             // between its paragraphs the host has empty ones
            const [name, text] = [...bold.closest("div").querySelectorAll(":scope > p")].filter((each) => each.textContent.trim());
            if (name?.textContent !== "mixdiff" || !text) continue;
            const details = MixdiffFiles.element("details", "mixdiff-chunk");
            details.append(MixdiffFiles.element("summary", "", {}, `the plan with its masks, ${Math.ceil(text.textContent.length / 1024)} kB`));
            text.replaceWith(details);
            details.append(text);
            MixdiffFiles.read(text.textContent.trim()).catch(() => {});        // what is wrong with it is said when it is used
        }
    }
}

(() => {
    const found = () => {
        for (const root of document.querySelectorAll(".mixdiff-editor[data-tab]:not([data-files])")) {
            if (!root.mixdiff) continue;
            root.dataset.files = "1";
            new MixdiffFiles(root);
        }
        const tab = document.querySelector("#tab_pnginfo:not([data-mixdiff])");
        if (!tab) return;
        tab.dataset.mixdiff = "1";
        new MutationObserver(() => MixdiffFiles.fold(tab)).observe(tab, {childList: true, subtree: true});
        MixdiffFiles.fold(tab);
    };
    new MutationObserver(found).observe(document, {childList: true, subtree: true});
    found();
})();
