// All that hands do, by keyboard.

class MixdiffKeys {
    static ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
    static PAN = 1 / 8;                 // of the frame
    static HELP = [
        ["Tab", "next region, guide or phrase"], ["Arrows", "move it by a cell, or the brush"], ["Shift + arrows", "change its size"], ["Enter", "to its prompt"],
        ["N", "new region"], ["P", "paint where the selected words belong"], ["Esc", "not these words"], ["Ctrl + D", "duplicate"], ["Del", "delete"], ["Page up, page down", "earlier or later in the list"],
        ["V, B, E", "tool: box, brush, eraser"], ["Space", "paint at the brush; with the pointer: pan"], ["[ and ]", "size of the brush"],
        ["H", "heat map"], ["+, −, 0", "zoom"], ["Ctrl + arrows", "pan"], ["Ctrl + Z, Ctrl + Shift + Z", "undo, redo"], ["Shift + drag", "a new region on top of others"],
    ];

    constructor(editor, hands) {
        this.editor = editor;
        this.hands = hands;
        editor.root.addEventListener("keydown", (event) => this.down(event));
        editor.root.addEventListener("keyup", (event) => event.key === " " && this.lifted());
        editor.root.addEventListener("focusout", () => this.lifted());
    }

    static help() {
        const {element} = MixdiffPage, details = element("details", "mixdiff-keys", null);
        element("summary", "", details).textContent = "Keys";
        const list = element("dl", "", details);
        for (const [keys, does] of MixdiffKeys.HELP) {
            element("dt", "", list).textContent = keys;
            element("dd", "", list).textContent = does;
        }
        return details;
    }

    lifted() {
        this.hands.space = false;
        if (this.painting) this.editor.brush.end();
        this.painting = false;
    }

    down(event) {
        const {editor} = this, command = event.ctrlKey || event.metaKey, inField = event.target.matches("textarea, input, select");
        editor.fresh();
        const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
        if (command && key === "z" && !inField) editor.undo(!event.shiftKey);
        else if (inField || !editor.stage?.frame.contains(event.target)) return;
        else if (command || event.altKey) {
            if (event.altKey || !this.commanded(key)) return;               // the page's own
        } else if (!this.pressed(key, event)) return;
        event.preventDefault();
        event.stopPropagation();
    }

    commanded(key) {
        const {editor} = this, arrow = MixdiffKeys.ARROWS[key], {clientWidth, clientHeight} = editor.stage.frame;
        if (key === "d") editor.actions.duplicate();
        else if (arrow) editor.view.pan(-arrow[0] * clientWidth * MixdiffKeys.PAN, -arrow[1] * clientHeight * MixdiffKeys.PAN);
        else return false;
        return true;
    }

    pressed(key, event) {
        const {editor} = this, {actions, brush, view, words} = editor, arrow = MixdiffKeys.ARROWS[key], boxes = editor.tool === "box";
        const does = {
            Delete: () => actions.remove(), Backspace: () => actions.remove(), Enter: () => editor.panels.focus(), n: () => actions.addInTheMiddle(), p: () => words.paint(),
            PageUp: () => actions.reorder(-1), PageDown: () => actions.reorder(1), v: () => editor.use("box"), b: () => editor.use("brush"),
            e: () => editor.use("eraser"), h: () => editor.heat.toggle(), "+": () => view.by(1.25), "=": () => view.by(1.25), "-": () => view.by(0.8),
            0: () => view.reset(), "[": () => editor.toolbar.resize(0.8), "]": () => editor.toolbar.resize(1.25),
        }[key];
        if (does) does();
        else if (arrow && !boxes) brush.move(arrow);
        else if (arrow && event.target.matches(".mixdiff-box")) actions.nudge(arrow, event.shiftKey);
        else if (key === "Escape" && words.pending !== null) words.drop();
        else if (key === " ") this.space(event);
        else return false;
        return true;
    }

    space(event) {
        const {brush} = this.editor;
        if (event.repeat) return;
        if (!brush.place || this.editor.tool === "box") this.hands.space = true;
        else {
            this.painting = true;
            brush.begin(brush.place);
        }
    }
}
