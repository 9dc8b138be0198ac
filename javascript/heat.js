// How much each region has to say where, over the canvas: one pixel of the server's picture for each latent cell.

class MixdiffHeat {
    constructor(editor, stage) {
        this.editor = editor;
        this.image = MixdiffPage.element("img", "mixdiff-heat", stage, {alt: "", hidden: ""});
        this.on = false;
    }

    toggle() {
        this.on = !this.on;
        this.editor.toolbar.show();
        if (!this.on) this.image.hidden = true;
        else this.editor.check.soon();
    }

    async draw(asked) {
        if (!this.on) return;
        const answer = await this.editor.check.post("preview");
        if (!answer.ok) throw new Error((await answer.json()).errors);
        const url = URL.createObjectURL(await answer.blob()), old = this.image.src;
        if (!this.on || asked !== this.editor.written) return URL.revokeObjectURL(url);
        this.image.src = url;
        this.image.hidden = false;
        if (old) URL.revokeObjectURL(old);
    }
}
