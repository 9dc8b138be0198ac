// Tiles: the canvas, and every region that is larger than one, in pieces of one size.

class MixdiffTiles {
    static FIELDS = [{path: ["width"], title: "Width", otherwise: "the model's own"}, {path: ["height"], title: "Height", otherwise: "the model's own"},
        {path: ["overlap"], title: "Overlap", otherwise: "a quarter"}, {path: ["grid"], title: "Grid"}, {path: ["window"], title: "Window"},
        {path: ["coords"], title: "SDXL coordinates"}, {path: ["batch"], title: "In one call", otherwise: "from the settings"}];

    constructor(editor, parent) {
        this.editor = editor;
        const {element, labelled} = MixdiffPage;
        this.fold = new MixdiffFold(parent, "Tiles: large pictures in the memory of one tile");
        this.enabled = element("input", "", null, {type: "checkbox", "data-key": "tiles"});
        labelled("In tiles", this.enabled, this.fold.details, "mixdiff-field mixdiff-check");
        this.enabled.addEventListener("change", () => editor.edit((plan) => {
            if (this.enabled.checked) plan.tiles = {};
            else delete plan.tiles;
        }));
        this.grid = element("div", "mixdiff-grid", this.fold.details);
        this.fields = MixdiffTiles.FIELDS.map((spec) => new MixdiffField(editor, this.grid, {record: "Tiles", of: (plan) => plan.tiles, ...spec}));
    }

    show() {
        const some = Boolean(this.editor.plan.tiles);
        this.fold.use(this.enabled.checked = some);
        this.grid.hidden = !some;
        for (const field of this.fields) {
            field.fill();
            field.label.hidden = Array.isArray(field.value);        // two overlaps, which only the plan's text can say
        }
    }

    // What tiles overlap is drawn twice.
    read({shares}) {
        this.fold.read(shares.tiles, "What the overlaps of tiles take of the first pass's work");
    }

    // Where the server found something wrong: "tiles.width".
    mark(field) {
        const [found, key] = field.match(/^tiles\b(?:\.(\w+))?/) || [];
        MixdiffPanels.mark(this.grid, found, [key]);
    }
}
