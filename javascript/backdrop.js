// A picture below the regions: to see what they lie on.

class MixdiffBackdrop {
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
        const of = {result: `#${this.editor.tab}_gallery img`, input: "#img2img_image img"}[this.kind];
        if (!of) return;
        const source = document.querySelector(of)?.src || "";
        if (source !== this.source) this.show(source);
    }

    show(source) {
        this.source = source;
        this.image.hidden = !source;
        if (source) this.image.src = source;
        else this.image.removeAttribute("src");
    }
}
