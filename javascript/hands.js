// Pointer and pen: what a drag on the canvas does.

class MixdiffHands {
    static STILL_PX = 4;

    constructor(editor, stage) {
        this.editor = editor;
        this.stage = stage;
        stage.node.addEventListener("pointerdown", (event) => this.down(event));
        stage.node.addEventListener("pointermove", (event) => editor.tool !== "box" && editor.brush.hover(event));
        stage.node.addEventListener("pointerleave", () => editor.brush.hide());
    }

    down(event) {
        this.editor.fresh();
        if (event.button === 1 || (event.button === 0 && this.space)) this.pan(event);
        else if (event.button) return;
        else if (this.editor.tool === "box") this.drag(event);
        else this.paint(event);
        event.preventDefault();
    }

    // Until the pointer is lifted, or Escape takes the gesture back.
    follow({pointerId}, move, end, cancel = end) {
        const gesture = new AbortController(), {signal} = gesture;
        const mine = (act, last) => (event) => {
            if (event.pointerId !== pointerId) return;
            if (last) gesture.abort();
            act(event);
        };
        window.addEventListener("pointermove", mine(move), {signal});
        window.addEventListener("pointerup", mine(end, true), {signal});
        window.addEventListener("pointercancel", mine(cancel, true), {signal});
        window.addEventListener("keydown", (event) => {
            if (event.key !== "Escape") return;
            event.stopPropagation();                    // to the page it says: interrupt the job
            gesture.abort();
            cancel(event);
        }, {signal, capture: true});
    }

    pan(event) {
        let [x, y] = [event.clientX, event.clientY];
        this.follow(event, (e) => {
            this.editor.view.pan(e.clientX - x, e.clientY - y);
            [x, y] = [e.clientX, e.clientY];
        }, () => {});
    }

    paint(event) {
        const {brush} = this.editor;
        this.stage.node.focus({preventScroll: true});
        brush.begin(this.stage.at(event));
        this.follow(event, (e) => brush.to(this.stage.at(e)), () => brush.end());
    }

    // A new box, or one that moves or changes its size: drawn once a frame, written into the plan when the pointer is lifted.
    drag(event) {
        const {editor, stage} = this, {grid} = editor.actions, rect = stage.node.getBoundingClientRect();
        const hit = event.shiftKey ? null : event.target.closest(".mixdiff-box"), {sides} = event.target.dataset;
        if (hit) editor.select([...stage.boxes.children].indexOf(hit));
        const {layer} = editor, first = hit && stage.box(layer), start = stage.at(event, rect), element = hit || stage.draft;
        let frame = 0, last = null;
        const box = () => {
            const [x, y] = [last[0] - start[0], last[1] - start[1]];
            return hit ? sides ? grid.resized(first, sides, x, y) : grid.moved(first, x, y) : grid.between(start, last);
        };
        const draw = () => {
            frame = 0;
            const now = box();
            if (!hit) element.hidden = !now;
            if (now) stage.place(element, now);
        };
        const move = (e) => {
            const at = stage.at(e, rect);
            if (!last && Math.hypot((at[0] - start[0]) * rect.width, (at[1] - start[1]) * rect.height) < MixdiffHands.STILL_PX) return;
            last = at;
            frame ||= requestAnimationFrame(draw);
        };
        const cancel = () => {
            cancelAnimationFrame(frame);
            stage.draft.hidden = true;
            stage.arrange();
        };
        this.follow(event, move, () => {
            const now = last && box();
            cancel();
            if (now && !hit) editor.actions.add({box: now});
            else if (now && layer.item.mask && !sides) editor.brush.shift(layer, [now[0] - first[0], now[1] - first[1]]);
            else if (now && MixdiffLayers.hasBox(layer)) editor.actions.change(layer, (item) => { item.box = now; });
            stage.focus();
        }, cancel);
    }
}
