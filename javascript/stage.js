// The canvas: a box for each region, guide and phrase, their masks and pictures.

class MixdiffStage {
    static SIDES = ["n", "e", "s", "w", "nw", "ne", "se", "sw"];
    static FITS = {cover: "cover", contain: "contain", stretch: "fill"};
    static EMPTY = "Drag to draw a region, take a template, or select words in the prompt and press Paint words.";

    constructor(editor, parent) {
        const {element} = MixdiffPage;
        this.editor = editor;
        this.frame = element("div", "mixdiff-frame", parent);
        this.node = element("div", "mixdiff-stage", this.frame, {tabindex: 0, role: "group", "aria-label": "Canvas: drag to draw a region", "data-empty": MixdiffStage.EMPTY});
        this.pictures = element("div", "mixdiff-pictures", this.node);
        this.masks = element("div", "mixdiff-masks", this.node);
        this.boxes = element("div", "mixdiff-boxes", this.node);
        this.draft = element("div", "mixdiff-draft", this.node, {hidden: ""});
        new ResizeObserver(() => editor.view?.pan(0, 0)).observe(this.frame);
    }

    // Where a pointer is, in fractions of the canvas.
    at(event, rect = this.node.getBoundingClientRect()) {
        return [(event.clientX - rect.left) / rect.width, (event.clientY - rect.top) / rect.height];
    }

    box({item}) {
        return item.box || (item.mask && this.editor.pictures.bounds(item.mask, () => this.arrange())) || [0, 0, 1, 1];
    }

    words(layer) {
        const {name, prompt, phrase} = layer.item;
        return phrase || name || prompt || MixdiffLayers.title(layer).toLowerCase();
    }

    show() {
        const {layers} = this.editor, children = this.boxes.children;
        const focused = this.boxes.contains(document.activeElement);
        while (children.length > layers.length) children[children.length - 1].remove();
        while (children.length < layers.length) this.boxes.append(this.made());
        layers.forEach((layer, i) => this.fill(children[i], layer));
        this.node.classList.toggle("empty", !layers.length);
        this.arrange();
        this.showMasks();
        this.mark();
        if (focused) (this.selected || this.node).focus({preventScroll: true});
    }

    made() {
        const {element} = MixdiffPage, box = element("div", "mixdiff-box", null, {tabindex: 0, role: "button"});
        element("span", "mixdiff-label", box);
        for (const sides of MixdiffStage.SIDES) element("i", `mixdiff-handle ${sides}`, box, {"data-sides": sides});
        box.addEventListener("focus", () => this.editor.select([...this.boxes.children].indexOf(box), false));
        return box;
    }

    fill(box, layer) {
        const {list, index, item} = layer, guide = list === "guides", words = this.words(layer);
        box.style.setProperty("--color", this.editor.color(layer));
        box.setAttribute("aria-label", `${MixdiffLayers.title(layer)}: ${words}`);
        box.classList.toggle("guide", guide);
        box.classList.toggle("phrase", list === "phrases");
        box.classList.toggle("masked", Boolean(item.mask));
        box.classList.toggle("off", item.enabled === false);
        box.querySelector(".mixdiff-label").textContent = `${index + 1} ${words}`;
        this.fillPicture(box, guide && typeof item.image === "string" ? this.editor.pictures.url(item.image) : "", item.fit);
    }

    fillPicture(box, source, fit = this.editor.schema.field("Guide", "fit").default) {
        let picture = box.querySelector("img");
        if (!source) return picture?.remove();
        if (!picture) {
            picture = MixdiffPage.element("img", "", null, {alt: "", draggable: "false"});
            box.prepend(picture);
        }
        if (picture.getAttribute("src") !== source) picture.setAttribute("src", source);
        picture.style.objectFit = MixdiffStage.FITS[fit];
    }

    arrange() {
        this.frame.style.setProperty("--aspect", this.editor.job.aspect);
        this.editor.layers.forEach((layer, i) => this.place(this.boxes.children[i], this.box(layer)));
    }

    place(element, [left, top, right, bottom]) {
        if (element) Object.assign(element.style, {left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%`});
    }

    showMasks() {
        const masked = this.editor.layers.filter(({item}) => typeof item.mask === "string" && item.enabled !== false);
        const wanted = JSON.stringify(masked.map(({list, index, item}) => [list, index, item.mask, this.editor.color({list, index})]));
        if (wanted === this.shownMasks) return;
        this.shownMasks = wanted;
        this.masks.replaceChildren(...masked.map((layer) => {
            const {list, index, item} = layer;
            const mask = MixdiffPage.element("div", "mixdiff-mask", null, {"data-of": `${list} ${index}`});
            mask.style.setProperty("--color", this.editor.color(layer));
            mask.style.setProperty("--mask", `url("${this.editor.pictures.url(item.mask)}")`);
            return mask;
        }));
    }

    // None while a phrase waits for its first stroke.
    get selected() {
        return this.editor.words.pending === null ? this.boxes.children[this.editor.selected] : undefined;
    }

    mark() {
        for (const box of this.boxes.children) box.classList.toggle("selected", box === this.selected);
    }

    focus() {
        (this.selected || this.node).focus({preventScroll: true});
    }
}
