// A picture below the regions: to see what they lie on.

class MixdiffBackdrop {
    static FITS = ["fill", "cover", "contain", "fill"];         // the modes of img2img's resizing, as they stand on the page

    constructor(editor, stage) {
        this.editor = editor;
        this.kind = "none";
        this.image = MixdiffPage.element("img", "mixdiff-backdrop", stage, {alt: "", hidden: ""});
        this.file = MixdiffPage.element("input", "", null, {type: "file", accept: "image/*"});
        this.file.addEventListener("change", () => this.file.files.length && this.show(URL.createObjectURL(this.file.files[0])));
    }

    get choices() {
        const input = this.editor.tab === "img2img" ? [["input", "img2img input"]] : [];
        return [["none", "None"], ["result", "Last result"], ...input, ["file", "File…"]];
    }

    choose(kind) {
        this.kind = kind;
        this.show("");
        if (kind === "file") {
            this.file.value = "";
            this.file.click();
        } else this.follow();
    }

    // The picture that the page shows now, where it is one of the page's own.
    follow() {
        const {kind, image} = this;
        if (kind !== "result" && kind !== "input") return;
        const source = (kind === "input" ? this.editor.job.image : this.result)?.src || "", mode = [...document.querySelectorAll("#resize_mode input")].findIndex((each) => each.checked);
        image.style.objectFit = kind === "input" && MixdiffBackdrop.FITS[mode] || "";
        if (source !== this.source) this.show(source);
    }

    // The picture that is chosen in the gallery; of several the first is their grid, then the last one.
    get result() {
        const images = [...document.querySelectorAll(`#${this.editor.tab}_gallery .grid-container img`)], chosen = images.findIndex((image) => image.closest(".selected"));
        return chosen > 0 ? images[chosen] : images[images.length - 1];
    }

    show(source) {
        this.source = source;
        this.image.hidden = !source;
        if (source) this.image.src = source;
        else this.image.removeAttribute("src");
    }
}
