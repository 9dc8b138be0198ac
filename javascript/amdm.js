// AMDM: several models whose latents are mixed. The canvas and the job are the main model's; each one beside it has a card.

class MixdiffAmdm {
    static OWN = "the job's own";
    static MAIN = [{path: ["steps"], title: "Steps", otherwise: "40 % of the steps", wide: true}, {path: ["mix"], title: "Mix"},
        {path: ["weight"], title: "Main model's weight"}, {path: ["eta"], title: "Main model's eta"}];
    static MODEL = [{path: ["name"], title: "Name", otherwise: "none", wide: true}, {path: ["prompt"], title: "Prompt", rows: 2, otherwise: MixdiffAmdm.OWN},
        {path: ["negative_prompt"], title: "Negative prompt", rows: 2, otherwise: MixdiffAmdm.OWN}, {path: ["cfg_scale"], title: "CFG Scale", otherwise: MixdiffAmdm.OWN},
        {path: ["seed"], title: "Seed", otherwise: "the job's noise"}, {path: ["weight"], title: "Weight"}, {path: ["eta"], title: "Eta"}];

    constructor(editor, parent) {
        this.editor = editor;
        this.fields = [];
        this.models = [];
        const {element} = MixdiffPage, {details} = this.fold = new MixdiffFold(parent, "AMDM: several models, one latent");
        this.main = element("div", "mixdiff-grid", details);
        this.ofMain = MixdiffAmdm.MAIN.map((spec) => new MixdiffField(editor, this.main, {record: "Amdm", of: (plan) => plan.amdm, ...spec}));
        this.cards = element("div", "mixdiff-models", details);
        this.more = MixdiffPage.button("Add model", "Add a model that is sampled beside the canvas's", element("div", "mixdiff-bar", details), () => this.add());
    }

    static models(plan) {
        return plan.amdm?.models ?? [];
    }

    // --- what is seen ---

    show() {
        const {plan} = this.editor, models = MixdiffAmdm.models(plan), some = Boolean(plan.amdm);
        if (models.length !== this.cards.children.length) {
            this.cards.replaceChildren();
            this.models = [];
            this.fields = models.flatMap((_, index) => this.card(index));
        }
        this.fold.use(some);
        this.main.hidden = !some;
        for (const field of [...this.ofMain, ...this.fields, ...this.models]) field.fill();
    }

    card(index) {
        const {editor} = this, {element, button} = MixdiffPage, card = element("fieldset", "mixdiff-panel", this.cards);
        element("legend", "", card).textContent = `Model ${index + 1}`;
        const of = (plan) => MixdiffAmdm.models(plan)[index], ofPlan = (plan, make) => of(plan).plan || (make ? of(plan).plan = {} : {});
        const grid = element("div", "mixdiff-grid", card), fields = MixdiffAmdm.MODEL.map((spec) => new MixdiffField(editor, grid, {record: "AmdmModel", of, ...spec}));
        this.models.push(new MixdiffModelField(editor, grid, {of: ofPlan, place: `amdm.models[${index}]`}));
        const text = new MixdiffPlanField(editor, grid, {title: "Its regions, guides, paint and tiles (JSON)", otherwise: "none", of}), bar = element("div", "mixdiff-bar", card);
        button("Take the canvas's", "Put what the canvas has now into this model's plan", bar, () => this.take(index));
        button("Swap with the canvas's", "Put this model's plan on the canvas, to draw on it, and the canvas's here", bar, () => this.take(index, true));
        button("Remove", "Remove this model", bar, () => this.remove(index));
        return [...fields, text];
    }

    // What the server says of the first pass.
    read(found) {
        this.fold.read(found.shares.amdm);
        [...this.cards.children].forEach((card, i) => { card.firstChild.dataset.cost = MixdiffFold.percent(found.shares[`amdm.models[${i}]`]); });
        for (const model of this.models) model.read(found);
    }

    // Where the server found something wrong: "amdm.steps", "amdm.models[0].prompt", "amdm.models[1].plan.regions[0].box".
    mark(field) {
        const [found, index, key, rest] = field.match(/^amdm\b(?:\.models\[(\d+)\])?(?:\.(\w+))?\.?(.*)/) || [];
        MixdiffPanels.mark(this.main, found && !index, [key]);
        [...this.cards.children].forEach((card, i) => {
            MixdiffPanels.mark(card, index === String(i), [key]);
            this.models[i].mark(index === String(i) && key === "plan" ? rest : "");
        });
        for (const each of this.fields) each.wrong && each.control.setAttribute("aria-invalid", "true");
    }

    // --- what is done; each is one change of the plan ---

    add() {
        this.editor.edit((plan) => ((plan.amdm ??= {}).models ??= []).push({}));
        this.cards.lastChild.querySelector("input").focus();
    }

    remove(index) {
        this.more.focus();
        this.editor.edit((plan) => {
            plan.amdm.models.splice(index, 1);
            if (!plan.amdm.models.length) delete plan.amdm;
        });
    }

    // What the canvas has and a model's plan may hold becomes this model's; with `swap` the model's comes to the canvas.
    take(index, swap = false) {
        const keys = Object.keys(this.editor.schema.records.ModelPlan.properties);
        this.editor.edit((plan) => {
            const model = MixdiffAmdm.models(plan)[index], old = model.plan;
            model.plan = Object.fromEntries(keys.filter((key) => plan[key] && plan[key].length !== 0).map((key) => [key, plan[key]]));
            if (!swap) return;
            for (const key of keys) delete plan[key];
            Object.assign(plan, {regions: []}, old);
        });
    }
}
