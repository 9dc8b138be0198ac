// The layers: a card for each region, guide and phrase, the selected one with all of its fields; and the base's.

class MixdiffPanels {
    static OWN = "the job's own";
    static HEAD = [{path: ["enabled"], title: "Visible"}, {path: ["name"], title: "Name", otherwise: "none"}];
    static LISTS = {
        regions: {
            record: "Region", head: MixdiffPanels.HEAD, always: [{path: ["prompt"], title: "Prompt", rows: 2, otherwise: MixdiffPanels.OWN}],
            details: [{path: ["negative_prompt"], title: "Negative prompt", rows: 2, otherwise: MixdiffPanels.OWN},
                {path: ["cfg_scale"], title: "CFG Scale", otherwise: MixdiffPanels.OWN}, {path: ["weight"], title: "Weight"},
                {path: ["seed"], title: "Seed", otherwise: "the job's noise"}, {path: ["window"], title: "Window"},
                {record: "Range", path: ["range", "unit"], title: "Acts"}, {record: "Range", path: ["range", "from"], title: "From", otherwise: "the beginning"},
                {record: "Range", path: ["range", "to"], title: "To", otherwise: "the end"}],
        },
        guides: {
            record: "Guide", head: MixdiffPanels.HEAD, always: [],
            details: [{path: ["strength"], title: "Strength (higher = closer to the guide; the inverse of denoising)", wide: true}, {path: ["fit"], title: "Fit"}],
        },
        phrases: {record: "Phrase", head: [], always: [{path: ["phrase"], title: "Phrase", wide: true}], details: [{path: ["strength"], title: "Strength"}]},
    };
    static BASE = [{path: ["share"], title: "Share of the base inside regions"}, {path: ["feather"], title: "Feather (px)"}];

    constructor(editor, parent) {
        this.editor = editor;
        this.tokens = [];
        this.fields = [];
        this.details = [];
        this.wrong = "";
        const {element} = MixdiffPage;
        this.cards = element("div", "mixdiff-list", parent, {role: "group", "aria-label": "Regions, guides and words"});
        this.fold = new MixdiffFold(parent, "Base: the job's own prompt, where no region is");
        const of = (plan, make) => plan.base || (make ? plan.base = {} : {}), grid = element("div", "mixdiff-grid", this.fold.details);
        this.base = MixdiffPanels.BASE.map((spec) => new MixdiffField(editor, grid, {record: "Base", of, ...spec}));
    }

    show() {
        const {layers} = this.editor, made = layers.map(({list}) => list).join();
        if (made !== this.made) {
            this.made = made;
            this.cards.replaceChildren();
            this.fields = layers.map((layer) => this.card(layer));
            this.details = [];
            this.opened = this.found = null;
            this.wrong = "";
        }
        layers.forEach((layer, i) => { this.cards.children[i].firstChild.textContent = MixdiffLayers.title(layer); });
        this.fold.use(Boolean(this.editor.plan.base));
        this.select();
        this.fill();
    }

    fill() {
        for (const field of [...this.fields.flat(), ...this.details, ...this.base]) field.fill();
    }

    card(layer) {
        const {record, head, always} = MixdiffPanels.LISTS[layer.list], card = MixdiffPage.element("fieldset", "mixdiff-panel", this.cards);
        card.style.setProperty("--color", this.editor.color(layer));
        MixdiffPage.element("legend", "", card);
        for (const kind of ["focusin", "pointerdown"]) card.addEventListener(kind, () => this.editor.select([...this.cards.children].indexOf(card), false));
        return [...this.part(card, "mixdiff-head", record, head, layer), ...this.part(card, "mixdiff-always", record, always, layer)];
    }

    part(card, className, record, specs, {list, index}) {
        const parent = MixdiffPage.element("div", className, card), of = (plan) => MixdiffLayers.list(plan, list)[index];
        return specs.map((spec) => new MixdiffField(this.editor, parent, {record, of, ...spec}));
    }

    // The selected one's further fields.
    select() {
        const {selected, layer, layers} = this.editor;
        [...this.cards.children].forEach((card, i) => card.classList.toggle("selected", i === selected && layers.length > 0));
        const card = layer && this.cards.children[selected];
        if (card !== this.opened) {
            this.opened?.querySelector(".mixdiff-grid")?.remove();
            this.opened = card;
            this.details = [];
            if (card) {
                this.details = this.part(card, "mixdiff-grid", MixdiffPanels.LISTS[layer.list].record, MixdiffPanels.LISTS[layer.list].details, layer);
                if (layer.list === "regions") this.details.push(new MixdiffModelField(this.editor, card.lastChild, {of: (plan) => plan.regions[layer.index], place: layer.index}));
                this.details.push(MixdiffLayers.hasBox(layer) ? new MixdiffBoxFields(this.editor, MixdiffPage.element("div", "mixdiff-four", card.lastChild), layer)
                    : new MixdiffWhereField(this.editor, card.lastChild, layer));
                this.mark();
                if (this.found && this.foundOf === this.editor.written) this.readout(this.found);
            }
        }
        this.count();
    }

    // What the server says of the first pass, of the plan as it is written.
    readout(found) {
        Object.assign(this, {found, foundOf: this.editor.written});
        this.fold.read(found.shares.base);
        this.editor.layers.forEach(({list, index}, i) => {
            this.cards.children[i].firstChild.dataset.cost = list === "regions" ? MixdiffFold.percent(found.shares[`regions[${index}]`]) : "";
        });
        for (const each of this.details) each.read?.(found);
    }

    focus() {
        const card = this.cards.children[this.editor.selected];
        (card?.querySelector("textarea") || card?.querySelector("[data-key=name], [data-key=phrase]"))?.focus();
    }

    // The tokens of each region's prompts, as the page's own counter shows them.
    count(tokens = this.tokens) {
        this.tokens = tokens;
        const hidden = typeof opts !== "undefined" && opts.disable_token_counters;
        this.editor.layers.forEach(({list, index}, i) => {
            for (const area of this.cards.children[i].querySelectorAll("textarea")) {
                const found = !hidden && list === "regions" && tokens[index]?.[area.dataset.key];
                area.parentElement.firstChild.dataset.tokens = found ? found.join("/") : "";
            }
        });
    }

    // Where the server found something wrong: "regions[0].weight", "paint.phrases[0].phrase".
    mark(field = this.wrong) {
        this.wrong = field;
        const [, list, index, inside, key] = field.match(/^(?:paint\.)?(\w+)\[(\d+)\]\.((\w+).*)/) || [];
        this.editor.layers.forEach((layer, i) => {
            const wrong = layer.list === list && layer.index === Number(index), card = this.cards.children[i];
            MixdiffPanels.mark(card, wrong, [key]);
            if (card === this.opened) for (const each of this.details) each.mark?.(wrong ? inside : "");
        });
    }

    static mark(card, wrong, keys) {
        card.classList.toggle("wrong", Boolean(wrong));
        for (const control of card.querySelectorAll("[data-key]")) {
            if (wrong && keys.includes(control.dataset.key)) control.setAttribute("aria-invalid", "true");
            else control.removeAttribute("aria-invalid");
        }
    }
}
