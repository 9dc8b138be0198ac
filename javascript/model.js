// A model of the plan: the loaded checkpoint, another one, experts by noise level, or an ensemble (AFA).

class MixdiffModelField {
    static KINDS = {loaded: "the loaded checkpoint", checkpoint: "another checkpoint", experts: "experts by noise level", afa: "an ensemble (AFA)"};
    static FRESH = {loaded: undefined, checkpoint: "", experts: {experts: [{range: {unit: "steps", to: 0.5}}, {range: {unit: "steps", from: 0.5}}]}, afa: {afa: {models: ["", ""], mode: "blocks"}}};

    // `of` returns the plan, or the region, whose model it is; `place` is what the server calls it: "canvas", the region's index, or "amdm.models[0]".
    constructor(editor, parent, {of, place}) {
        Object.assign(this, {editor, of, place, fields: []});
        const {element, labelled, select} = MixdiffPage;
        this.node = element("div", "mixdiff-model mixdiff-wide", parent);
        this.kind = select(Object.entries({...MixdiffModelField.KINDS, ...typeof place === "number" && {loaded: "the canvas's"}}), {"data-key": "model", title: editor.schema.field("Plan", "model").description ?? ""});
        labelled("Model", this.kind, this.node, "mixdiff-field mixdiff-wide");
        this.kind.addEventListener("change", () => this.change(() => MixdiffModelField.FRESH[this.kind.value]));
        this.body = element("div", "mixdiff-grid", this.node);
        this.fill();
    }

    static kind(model) {
        const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
        if (model === undefined || model === null) return "loaded";
        if (typeof model === "string") return "checkpoint";
        if (Array.isArray(model.experts) && model.experts.every((expert) => isObject(expert) && (expert.range === undefined || expert.range === null || isObject(expert.range)))) return "experts";
        return isObject(model.afa) && Array.isArray(model.afa.models) ? "afa" : "";         // of no kind: the server says what is wrong
    }

    // One change of the plan; what `make` leaves of the model, or gives in its place, is the new one.
    change(make, again = false) {
        this.editor.edit((plan) => {
            const home = this.of(plan, true), made = make(home.model);
            if (made === undefined) delete home.model;
            else home.model = JSON.parse(JSON.stringify(made));
        }, again);
    }

    get model() {
        return this.of(this.editor.plan)?.model;
    }

    fill() {
        const {model} = this, kind = MixdiffModelField.kind(model), count = (model?.experts ?? model?.afa?.models ?? []).length;
        if (this.kind !== document.activeElement) this.kind.value = kind;
        if (`${kind} ${count}` !== this.made) {
            this.made = `${kind} ${count}`;
            this.body.replaceChildren();
            this.part = {checkpoint: MixdiffCheckpoint, experts: MixdiffExperts, afa: MixdiffEnsemble}[kind];
            this.part &&= new this.part(this, this.body, count);
        }
        this.part?.fill();
    }

    // Where the server found something wrong in it: "model", "model.experts[1].range", "model.afa.models[0]".
    mark(field) {
        const [found, index, key] = field.match(/^model\b(?:\.experts\[(\d+)\])?(?:\.afa)?(?:\.(\w+))?/) || [];
        const cards = [...this.body.querySelectorAll("fieldset")];
        cards.forEach((card, i) => MixdiffPanels.mark(card, index === String(i), [key]));
        if (!cards.length) MixdiffPanels.mark(this.node, found, [key ?? "model"]);
    }

    // What the server says of a pass: which step uses what.
    read(found) {
        this.part?.read?.(found?.checkpoints?.find(({of}) => of === this.place)?.steps, found?.noise);
    }
}

// A checkpoint by its title, one of the page's list.
class MixdiffCheckpoint {
    constructor(field, parent) {
        this.input = new MixdiffTitle(field.editor, parent, {title: "Checkpoint", value: () => field.model, write: (text, again) => field.change(() => text, again)});
    }

    fill() {
        this.input.fill();
    }
}

// A text box with the titles of the checkpoints, or other names, below it.
class MixdiffTitle {
    constructor(editor, parent, {title, value, write, otherwise = "", names = "checkpoints", key = "model"}) {
        Object.assign(this, {value, typing: false});
        this.control = MixdiffPage.element("input", "", null, {type: "text", list: `mixdiff-${names}-${editor.tab}`, placeholder: otherwise, "data-key": key});
        this.label = MixdiffPage.labelled(title, this.control, parent, "mixdiff-field mixdiff-wide");
        this.control.addEventListener("input", () => {
            write(this.control.value, this.typing);
            this.typing = true;
        });
        this.control.addEventListener("blur", () => { this.typing = false; });
        this.fill();
    }

    // What is an object there only the plan's text can say.
    fill() {
        const value = this.value();
        this.label.hidden = value instanceof Object;
        if (this.control !== document.activeElement) this.control.value = value ?? "";
    }
}

// AFA: the checkpoints, how they become one, and the trained aggregator.
class MixdiffEnsemble {
    static MODES = {full: "full: trained, every block", last: "last: trained, the prediction", blocks: "blocks: the mean of each block", noise: "noise: the mean of the predictions",
        merge: "merge: the mean of the weights", saliency: "saliency: who is guided most, pixel by pixel"};

    constructor(field, parent, count) {
        const {element, button, labelled, select} = MixdiffPage, {editor} = field, afa = () => field.model.afa;
        const change = (make, again) => field.change((model) => { make(model.afa); return model; }, again);
        Object.assign(this, {field, afa});
        this.mode = select(Object.entries(MixdiffEnsemble.MODES), {"data-key": "mode"});
        labelled("Mode", this.mode, parent, "mixdiff-field mixdiff-wide");
        this.mode.addEventListener("change", () => change((asked) => {
            asked.mode = this.mode.value;
            if (!MixdiffEnsemble.trained(asked)) delete asked.aggregator;
        }));
        this.aggregator = new MixdiffTitle(editor, parent, {title: "Aggregator", value: () => afa().aggregator, names: "aggregators", key: "aggregator",
            otherwise: "one that was trained for these checkpoints, in the tab AFA", write: (text, again) => this.listed.then(() => field.model?.afa && change((asked) => this.take(asked, text), again))});
        this.titles = Array.from({length: count}, (_, index) => new MixdiffTitle(editor, parent, {title: `Checkpoint ${index + 1}`, value: () => afa().models[index], key: "models",
            write: (text, again) => change((asked) => { asked.models[index] = text; }, again)}));
        const bar = element("div", "mixdiff-bar mixdiff-wide", parent);
        button("Add checkpoint", "Add a checkpoint to the ensemble", bar, () => change((asked) => asked.models.push("")));
        button("Remove the last", "Take the last checkpoint out of the ensemble", bar, () => change((asked) => asked.models.length > 1 && asked.models.pop())).disabled = count < 2;
        this.leads = new MixdiffSetting(editor, parent, "mixdiff_leads", "Maps of who leads where");
        this.listed = MixdiffEnsemble.known(editor).catch(() => {});        // without a list a name is still a name
    }

    static trained({mode}) {
        return mode === undefined || mode === "full" || mode === "last";
    }

    // The server's, which the list below the text box shows.
    static async known(editor) {
        const answer = await fetch("mixdiff/v1/aggregators");
        if (!answer.ok) return;
        editor.aggregators = (await answer.json()).aggregators;
        const list = document.getElementById(`mixdiff-aggregators-${editor.tab}`);
        list.replaceChildren(...MixdiffPage.select(editor.aggregators.map(({name, models}) => [name, models.join(" + ")])).children);
    }

    // An aggregator knows its models and its mode.
    take(asked, name) {
        const found = this.field.editor.aggregators?.find((each) => each.name === name);
        if (name) asked.aggregator = name;
        else delete asked.aggregator;
        if (found) Object.assign(asked, {models: found.models, mode: found.mode});
    }

    fill() {
        if (this.mode !== document.activeElement) this.mode.value = this.afa().mode ?? "full";
        this.aggregator.fill();
        for (const {label} of [this.aggregator, this.leads]) label.hidden = !MixdiffEnsemble.trained(this.afa());
        for (const title of this.titles) title.fill();
    }
}
