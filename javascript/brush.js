// Masks, painted: grey on black, of the whole canvas, stored by the server. A new stroke goes on with the mask that is there.

class MixdiffBrush {
    static LONGEST_PX = 1024;           // of what is painted; masks are read cell by cell

    constructor(editor, stage) {
        const {element} = MixdiffPage;
        this.editor = editor;
        this.stage = stage;
        this.size = 0.15;               // of the canvas's width
        this.softness = 0.3;            // of the radius
        this.shown = element("canvas", "mixdiff-paint", stage.node, {"aria-hidden": "true", hidden: ""});
        this.cursor = element("div", "mixdiff-cursor", stage.node, {hidden: ""});
        this.context = element("canvas", "", null).getContext("2d", {willReadFrequently: true});
        this.saved = Promise.resolve();
    }

    get erases() {
        return this.editor.tool === "eraser";
    }

    // --- where ---

    point(at) {
        const [x, y] = at, {aspect} = this.editor.job;
        this.cursor.hidden = false;
        Object.assign(this.cursor.style, {left: `${100 * x}%`, top: `${100 * y}%`, width: `${100 * this.size}%`, height: `${100 * this.size * aspect}%`});
    }

    hover(event) {
        this.place = null;
        this.point(this.stage.at(event));
    }

    // By keyboard, in cells.
    move([x, y]) {
        const {layer} = this, [w, h] = this.editor.actions.grid.cell, box = this.stage.box(layer);
        const [left, top] = this.place || [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
        this.place = [left + x * w, top + y * h].map((value) => Math.min(1, Math.max(0, value)));
        this.point(this.place);
        if (this.stroke) this.to(this.place);
    }

    hide() {
        this.place = null;
        this.cursor.hidden = true;
    }

    // --- a stroke: of the selected layer; the first of a phrase makes it, and where nothing is, it makes a region ---

    begin(at) {
        if (this.stroke) return;
        const stroke = this.stroke = {erases: this.erases, points: [at]};
        stroke.held = this.saved.then(() => this.hold(stroke)).then(() => this.paint(stroke));
        stroke.held.catch(() => {});            // `end` says it
    }

    to(at) {
        const {stroke} = this;
        stroke.points.push(at);
        stroke.frame ??= requestAnimationFrame(() => {
            stroke.frame = undefined;
            if (stroke.ready) this.paint(stroke);
        });
    }

    end() {
        const {stroke} = this;
        this.stroke = null;
        this.saved = stroke.held.then(() => {
            cancelAnimationFrame(stroke.frame);
            this.paint(stroke);
            return this.keep(stroke.layer, stroke.erases ? (box) => box : (box, bounds) => bounds ? this.editor.actions.grid.union(box, bounds) : box);
        }).catch((error) => this.failed(error));
    }

    failed(error) {
        this.shown.hidden = true;
        this.editor.say(`The mask could not be stored: ${error.message}`, true);
    }

    // What a stroke belongs to, where it is not yet in the plan as it will be.
    get layer() {
        const {plan, layer, words} = this.editor, {pending} = words;
        const made = (list, item) => ({list, index: MixdiffLayers.list(plan, list).length, item, isNew: true});
        return pending !== null ? made("phrases", {phrase: pending}) : layer || made("regions", {});
    }

    async hold(stroke) {
        const {editor, context, shown} = this, {size} = editor.job, layer = stroke.layer = this.layer;
        const picture = layer.item.mask && await editor.pictures.loaded(layer.item.mask);
        const zoom = Math.min(1, MixdiffBrush.LONGEST_PX / Math.max(...size)), [width, height] = size.map((side) => Math.round(side * zoom));
        for (const canvas of [context.canvas, shown]) Object.assign(canvas, {width, height});
        context.fillRect(0, 0, width, height);
        if (picture) {
            context.filter = "grayscale(1)";
            context.drawImage(picture, 0, 0, width, height);
            context.filter = "none";
        } else if (!layer.isNew && stroke.erases) {
            const [left, top, right, bottom] = this.stage.box(layer);
            context.fillStyle = "#fff";
            context.fillRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
        }
        const color = editor.color(layer);
        this.rgb = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
        const static_ = this.stage.masks.querySelector(`[data-of="${layer.list} ${layer.index}"]`);
        if (static_) static_.hidden = true;
        shown.hidden = false;
        this.tint(0, 0, width, height);
        stroke.ready = true;
    }

    // The points that came since the last time, as a line of dabs.
    paint(stroke) {
        const {width, height} = this.context.canvas, radius = Math.max(1, this.size * width / 2), places = stroke.points.map(([x, y]) => [x * width, y * height]);
        if (!places.length) return;
        let last = stroke.last || places[0];
        for (const place of places) {
            const steps = Math.max(1, Math.ceil(Math.hypot(place[0] - last[0], place[1] - last[1]) / Math.max(1, radius / 4)));
            for (let i = 1; i <= steps; i++) this.dab(stroke.erases, radius, ...last.map((from, axis) => from + (place[axis] - from) * i / steps));
            last = place;
        }
        const all = [stroke.last || places[0], ...places], [left, top] = [0, 1].map((axis) => Math.floor(Math.min(...all.map((p) => p[axis])) - radius));
        const [right, bottom] = [0, 1].map((axis) => Math.ceil(Math.max(...all.map((p) => p[axis])) + radius));
        this.tint(Math.max(0, left), Math.max(0, top), Math.min(width, right), Math.min(height, bottom));
        stroke.last = last;
        stroke.points = [];
    }

    // The lighter (of the eraser the darker) of what is there and a spot with a soft border: a stroke over itself stays as it is.
    dab(erases, radius, x, y) {
        const {context} = this, spot = context.createRadialGradient(x, y, Math.max(0, Math.min(radius * (1 - this.softness), radius - 1)), x, y, radius);
        spot.addColorStop(0, erases ? "#000" : "#fff");
        spot.addColorStop(1, erases ? "#fff" : "#000");
        context.globalCompositeOperation = erases ? "darken" : "lighten";
        context.fillStyle = spot;
        context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
        context.globalCompositeOperation = "source-over";
        context.fillStyle = "#000";
    }

    // Shows a part in the region's colour.
    tint(left, top, right, bottom) {
        if (right <= left || bottom <= top) return;
        const part = this.context.getImageData(left, top, right - left, bottom - top), {data} = part, [r, g, b] = this.rgb;
        for (let i = 0; i < data.length; i += 4) {
            data[i + 3] = data[i];
            [data[i], data[i + 1], data[i + 2]] = [r, g, b];
        }
        this.shown.getContext("2d").putImageData(part, left, top);
    }

    // Into the plan; `box` tells the new box of one that has its own.
    async keep(layer, box) {
        const {editor, context} = this, bounds = MixdiffPictures.boundsOf(context);
        const mask = await editor.pictures.store(await new Promise((done) => context.canvas.toBlob(done, "image/png")));
        if (layer.isNew) editor.actions.add({...layer.item, mask}, layer.list);
        else {
            editor.actions.change(layer, (item) => {
                item.mask = mask;
                if (item.box) item.box = box(item.box, bounds);
            });
        }
        await editor.pictures.loaded(mask);
        if (!this.stroke) this.shown.hidden = true;
    }

    clear() {
        if (this.editor.layer?.item.mask) this.editor.actions.change(this.editor.layer, (item) => { delete item.mask; });
    }

    // The mask by fractions of the canvas, the box with it.
    shift(layer, [x, y]) {
        this.saved = this.saved.then(async () => {
            await this.hold({layer});
            const {context} = this, {width, height} = context.canvas, old = MixdiffPage.element("canvas", "", null, {width, height});
            old.getContext("2d").drawImage(context.canvas, 0, 0);
            context.fillRect(0, 0, width, height);
            context.drawImage(old, Math.round(x * width), Math.round(y * height));
            this.tint(0, 0, width, height);
            await this.keep(layer, (box) => this.editor.actions.grid.moved(box, x, y));
        }).catch((error) => this.failed(error));
    }
}
