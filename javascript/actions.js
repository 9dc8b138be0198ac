// What can be done to regions, guides and phrases; each is one change of the plan.

class MixdiffActions {
    static TEMPLATES = {
        "two columns": [2, 1], "three columns": [3, 1], "two rows": [1, 2], "three rows": [1, 3], "four quadrants": [2, 2], "grid of nine": [3, 3],
    };

    constructor(editor) {
        this.editor = editor;
    }

    get grid() {
        return new MixdiffGrid(this.editor.job.size, this.editor.schema.cellPx);
    }

    // At the end of its list.
    add(item, list = "regions") {
        this.editor.edit((plan) => MixdiffLayers.list(plan, list, true).push(item));
        const {layers} = this.editor;
        this.editor.select(layers.findLastIndex((layer) => layer.list === list));
    }

    addInTheMiddle() {
        this.add({box: this.grid.snapped([0.25, 0.25, 0.75, 0.75])});
    }

    change(layer, change) {
        this.editor.edit((plan) => change(MixdiffLayers.list(plan, layer.list)[layer.index]));
    }

    remove() {
        const {layer, selected} = this.editor;
        if (!layer) return;
        this.editor.edit((plan) => MixdiffLayers.list(plan, layer.list).splice(layer.index, 1));
        this.editor.select(Math.min(selected, this.editor.layers.length - 1));
    }

    duplicate() {
        const {layer, selected} = this.editor;
        if (!layer || !MixdiffLayers.hasBox(layer)) return;
        const copy = JSON.parse(JSON.stringify(layer.item)), {grid} = this;
        delete copy.name;
        if (!copy.mask) copy.box = grid.moved(copy.box || [0, 0, 1, 1], ...grid.cell);
        this.editor.edit((plan) => MixdiffLayers.list(plan, layer.list).splice(layer.index + 1, 0, copy));
        this.editor.select(selected + 1);
    }

    reorder(by) {
        const {layer, selected, layers} = this.editor;
        if (!layer || layers[selected + by]?.list !== layer.list) return;
        this.editor.edit((plan) => {
            const list = MixdiffLayers.list(plan, layer.list);
            list.splice(layer.index + by, 0, ...list.splice(layer.index, 1));
        });
        this.editor.select(selected + by);
    }

    // What is drawn already keeps its words.
    template(name) {
        const old = this.editor.plan.regions || [];
        const boxes = this.grid.split(...MixdiffActions.TEMPLATES[name]);
        this.editor.edit((plan) => {
            plan.regions = boxes.map((box, i) => ({...old[i], box}));
            for (const region of plan.regions) delete region.mask;
        });
        this.editor.select(0);
    }

    nudge([x, y], resize) {
        const {layer} = this.editor, {grid} = this;
        if (!layer || (!MixdiffLayers.hasBox(layer) && (resize || !layer.item.mask))) return;
        const box = this.editor.stage.box(layer), by = [x * grid.cell[0], y * grid.cell[1]];
        if (resize || !layer.item.mask) this.change(layer, (item) => { item.box = resize ? grid.resized(box, "es", ...by) : grid.moved(box, ...by); });
        else this.editor.brush.shift(layer, grid.moved(box, ...by).map((value, i) => value - box[i]).slice(0, 2));
    }
}
