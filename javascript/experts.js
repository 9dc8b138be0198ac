// eDiff-I's stack: a bar over the steps whose borders are dragged, and a card for each expert.

class MixdiffExperts {
    constructor(field, parent, count) {
        Object.assign(this, {field, steps: null, noise: null});
        const {element, button} = MixdiffPage, {editor} = field;
        this.bar = element("div", "mixdiff-stack mixdiff-wide", parent, {role: "group", "aria-label": "Which steps each expert takes", hidden: ""});
        this.note = element("p", "mixdiff-hint mixdiff-wide", parent);
        this.cards = Array.from({length: count}, (_, index) => this.card(parent, index));
        const buttons = element("div", "mixdiff-bar mixdiff-wide", parent);
        this.more = button("Add expert", "Give half of the longest stretch to one more expert", buttons, () => this.add());
        button("Remove the last", "The last expert's steps go to the one of the job", buttons, () => this.change((experts) => experts.pop())).disabled = count < 2;
        this.handles = [];
    }

    change(make, again = false) {
        this.field.change((model) => { make(model.experts); return model; }, again);
    }

    get experts() {
        return this.field.model.experts;
    }

    color(index) {
        return index === null ? "var(--border-color-primary)" : this.field.editor.schema.color(index);
    }

    card(parent, index) {
        const {editor} = this.field, {element} = MixdiffPage, of = (plan) => this.field.of(plan).model.experts[index];
        const node = element("fieldset", "mixdiff-panel mixdiff-wide", parent);
        node.style.setProperty("--color", this.color(index));
        element("legend", "", node).textContent = `Expert ${index + 1}`;
        const grid = element("div", "mixdiff-grid", node);
        const title = new MixdiffTitle(editor, grid, {title: "Checkpoint", otherwise: "the one of the job", value: () => this.experts[index]?.model,
            write: (text, again) => this.change((experts) => { experts[index].model = text || undefined; }, again)});
        const fields = [{path: ["text_encoder"], title: "Prompts by"}, {record: "Range", path: ["range", "unit"], title: "Acts"},
            {record: "Range", path: ["range", "from"], title: "From", otherwise: "the beginning"}, {record: "Range", path: ["range", "to"], title: "To", otherwise: "the end"}]
            .map((spec) => new MixdiffField(editor, grid, {record: "Expert", of, ...spec}));
        return [title, ...fields];
    }

    fill() {
        for (const each of this.cards.flat()) each.fill();
        this.wait();
    }

    // Steps of the bar; one of AMDM's models has the mixed ones.
    get count() {
        return this.steps[this.steps.length - 1].to;
    }

    get ranges() {
        return JSON.stringify(this.experts.map(({range}) => range));
    }

    // While the bar is not of these ranges, nothing is to be done with it.
    wait() {
        const stale = this.ranges !== this.drawn;
        this.bar.inert = stale && !this.dragging;
        this.more.disabled = stale || !this.steps;
    }

    // --- the bar ---

    // Stretches of the steps with the expert that takes each, and how noisy each step is.
    read(steps, noise) {
        if (this.dragging) return;
        Object.assign(this, {steps: steps ?? null, noise: noise ?? null});
        this.draw();
        this.drawn = this.ranges;
        this.wait();
    }

    draw() {
        const {element} = MixdiffPage, {steps, bar} = this, focused = this.handles.indexOf(document.activeElement);
        this.bar.hidden = !steps;
        this.note.textContent = steps ? "" : "Which step uses which checkpoint shows once the plan fits and the sampler's steps are known before it runs.";
        if (!steps) return;
        bar.replaceChildren();
        for (const {from, to, expert, unet} of steps) {
            const part = element("div", "mixdiff-stretch", bar, {title: `steps ${from} to ${to}: ${unet ?? "the loaded checkpoint"}`});
            part.style.cssText = `flex-grow: ${to - from + 1}; background: ${this.color(expert)}`;
            part.textContent = expert === null ? "" : expert + 1;
        }
        this.handles = steps.slice(1).map(({from}, i) => this.handle(from - 1, i));
        this.handles[focused]?.focus();
        this.note.textContent = steps.map(({from, to, unet}) => `${from === to ? from : `${from}–${to}`}: ${unet ?? "the loaded one"}`).join(" · ") + ` (of ${this.count} steps)`;
    }

    // Between the stretches i and i + 1: after `at` steps.
    handle(at, i) {
        const {count} = this, low = this.steps[i].from, high = this.steps[i + 1].to - 1;
        const node = MixdiffPage.element("div", "mixdiff-border", this.bar, {role: "slider", tabindex: 0, "aria-label": `Border ${i + 1}`, "aria-valuemin": low, "aria-valuemax": high,
            "aria-valuenow": at, "aria-valuetext": `after step ${at} of ${count}`});
        const show = (step) => { node.style.left = `${100 * step / count}%`; };
        const move = (step, again) => {
            const to = Math.max(low, Math.min(high, step));
            show(to);
            if (to !== node.at) this.put(i, node.at = to, again);
        };
        node.at = at;
        show(at);
        node.addEventListener("pointerdown", (event) => {
            node.setPointerCapture(event.pointerId);
            this.dragging = true;
            let again = false;
            const box = this.bar.getBoundingClientRect(), follow = ({clientX}) => {
                const before = node.at;
                move(Math.round((clientX - box.left) / box.width * count), again);
                again ||= node.at !== before;
            };
            node.addEventListener("pointermove", follow);
            node.addEventListener("lostpointercapture", () => {
                node.removeEventListener("pointermove", follow);
                this.dragging = false;
                this.field.editor.check.soon();
            }, {once: true});
        });
        node.addEventListener("keydown", ({key}) => {
            const by = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1}[key];
            if (by) move(node.at + by);
        });
        return node;
    }

    // The border between two stretches lies after so many steps now.
    put(i, at, again) {
        const [before, after] = [this.steps[i].expert, this.steps[i + 1].expert];
        this.steps[i].to = at;
        this.steps[i + 1].from = at + 1;
        this.change((experts) => {
            for (const [index, end] of [[before, "to"], [after, "from"]]) {
                if (index !== null) (experts[index].range ??= {unit: "steps"})[end] = this.value(experts[index].range.unit ?? "timestep", at);
            }
        }, again);
        this.drawn = this.ranges;
        this.wait();
    }

    // Of a border after so many steps. Noise falls: a range holds its "from", and not its "to".
    value(unit, at) {
        const {noise} = this;
        if (unit === "steps") return Number((at / noise.length).toFixed(6));
        const column = unit === "sigma" ? 1 : 0, [above, below] = [noise[at - 1][column], noise[at][column]];
        const middle = column ? Number(Math.sqrt(above * below).toPrecision(4)) : Math.round((above + below) / 2);
        return below <= middle && middle < above ? middle : Number(below.toFixed(6));
    }

    // The later half of the longest stretch.
    add() {
        const {steps} = this;
        const {from, to, expert} = steps.reduce((longest, each) => each.to - each.from > longest.to - longest.from ? each : longest), at = Math.floor((from - 1 + to) / 2);
        if (at < from) return;
        this.change((experts) => {
            const range = experts[expert]?.range ?? {}, unit = range.unit ?? "steps", middle = this.value(unit, at);
            const end = range.to ?? (to < this.count ? this.value(unit, to) : undefined);
            experts.push({range: {unit, from: middle, ...end !== undefined && {to: end}}});
            if (expert !== null) experts[expert].range = {...range, unit, to: middle};
        });
    }
}
