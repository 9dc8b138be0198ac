// The buttons above and below the canvas.

class MixdiffToolbar {
    static TOOLS = [["box", "Box", "Draw, move and resize boxes (V)"], ["brush", "Brush", "Paint the selected region's mask (B)"],
        ["eraser", "Eraser", "Erase from the selected region's mask (E)"]];
    static BRUSH = [["size", "Size", 0.01, 1], ["softness", "Softness", 0, 1]];

    constructor(editor) {
        this.editor = editor;
        const {element} = MixdiffPage;
        this.node = element("div", "mixdiff-bar", null, {role: "toolbar", "aria-label": "Regions, guides and words"});
        this.lower = element("div", "mixdiff-bar", null, {role: "toolbar", "aria-label": "View"});
    }

    group(parent, name) {
        return MixdiffPage.element("div", "mixdiff-group", parent, {role: "group", "aria-label": name});
    }

    build() {
        const {editor, node} = this, {actions} = editor, {button, select} = MixdiffPage;
        const tools = this.group(node, "Tool");
        this.tools = MixdiffToolbar.TOOLS.map(([tool, text, title]) => [tool, button(text, title, tools, () => editor.use(tool))]);
        const add = this.group(node, "Add");
        button("Add", "Add a region in the middle (N)", add, () => actions.addInTheMiddle());
        button("Guide…", "Add a guide image: choose a file, or drop one on the canvas", add, () => editor.guides.choose());
        button("Paint words", "Paint where the selected words belong (P)", add, () => editor.words.paint());
        const templates = select([["", "Template…"], ...Object.keys(MixdiffActions.TEMPLATES).map((name) => [name, name])], {"aria-label": "Template"});
        templates.className = "mixdiff-template";
        templates.addEventListener("change", () => {
            if (templates.value) actions.template(templates.value);
            templates.selectedIndex = 0;
        });
        add.append(templates);
        const edit = this.group(node, "Edit");
        this.ofBox = button("Duplicate", "Duplicate what is selected (Ctrl+D)", edit, () => actions.duplicate());
        this.ofLayer = [button("Delete", "Delete what is selected (Del)", edit, () => actions.remove()),
            button("↑", "Earlier in the list (Page up)", edit, () => actions.reorder(-1)), button("↓", "Later in the list (Page down)", edit, () => actions.reorder(1))];
        const history = this.group(node, "History");
        this.undo = button("Undo", "Undo (Ctrl+Z)", history, () => editor.undo());
        this.redo = button("Redo", "Redo (Ctrl+Shift+Z)", history, () => editor.undo(false));
        this.buildBrush();
        this.buildLower();
    }

    buildBrush() {
        this.brush = this.group(this.node, "Brush");
        this.sliders = MixdiffToolbar.BRUSH.map(([key, title, min, max]) => {
            const slider = MixdiffPage.element("input", "", null, {type: "range", min, max, step: 0.01});
            MixdiffPage.labelled(title, slider, this.brush, "mixdiff-slider");
            slider.addEventListener("input", () => { this.editor.brush[key] = Number(slider.value); });
            return [key, slider];
        });
        this.clear = MixdiffPage.button("Clear mask", "Clear the mask of what is selected", this.brush, () => this.editor.brush.clear());
    }

    buildLower() {
        const {editor, lower} = this, {button, labelled, select} = MixdiffPage;
        const background = select(editor.backdrop.choices);
        background.addEventListener("change", () => editor.backdrop.choose(background.value));
        labelled("Background", background, lower, "mixdiff-inline");
        this.heat = button("Heat map", "How much each region has to say where (H)", lower, () => editor.heat.toggle());
        const zoom = this.group(lower, "Zoom");
        button("−", "Zoom out (−)", zoom, () => editor.view.by(0.8));
        this.zoom = button("100 %", "The whole canvas (0)", zoom, () => editor.view.reset());
        button("+", "Zoom in (+)", zoom, () => editor.view.by(1.25));
    }

    resize(factor) {
        const [, , min, max] = MixdiffToolbar.BRUSH[0], {brush} = this.editor;
        brush.size = Math.min(max, Math.max(min, brush.size * factor));
        if (brush.place) brush.point(brush.place);
        this.show();
    }

    show() {
        const {tool, layer, history, heat, view, brush} = this.editor;
        for (const [name, button] of this.tools) button.setAttribute("aria-pressed", name === tool);
        for (const button of this.ofLayer) button.disabled = !layer;
        this.ofBox.disabled = !layer || !MixdiffLayers.hasBox(layer);
        this.undo.disabled = !history.past.length;
        this.redo.disabled = !history.future.length;
        this.brush.hidden = tool === "box";
        this.clear.disabled = this.ofBox.disabled || !layer.item.mask;
        for (const [key, slider] of this.sliders) slider.value = brush[key];
        this.heat.setAttribute("aria-pressed", heat.on);
        this.zoom.textContent = `${Math.round(100 * view.zoom)} %`;
    }
}
