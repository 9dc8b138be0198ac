// Image files become guides: dropped or pasted on the canvas, or chosen.

class MixdiffGuides {
    constructor(editor, frame) {
        this.editor = editor;
        this.file = MixdiffPage.element("input", "", null, {type: "file", accept: "image/png,image/jpeg,image/webp", multiple: ""});
        this.file.addEventListener("change", () => this.add(this.file.files));
        const holds = (data) => data && [...data.items].some((item) => item.kind === "file");
        const take = (event, files, at) => {            // before the page's own: there a file is the img2img input
            event.preventDefault();
            event.stopPropagation();
            this.add(files, at);
        };
        frame.addEventListener("dragover", (event) => holds(event.dataTransfer) && event.preventDefault());
        frame.addEventListener("drop", (event) => holds(event.dataTransfer) && take(event, event.dataTransfer.files, editor.stage.at(event)));
        editor.root.addEventListener("paste", (event) => {
            if (!event.target.matches("textarea, input") && event.clipboardData.files.length) take(event, event.clipboardData.files);
        });
    }

    choose() {
        this.file.value = "";
        this.file.click();
    }

    // About a place in fractions of the canvas.
    async add(files, at = [0.5, 0.5]) {
        const {editor} = this;
        for (const file of [...files]) {
            try {
                const image = await editor.pictures.store(file), picture = await editor.pictures.loaded(image);
                editor.actions.add({image, box: editor.actions.grid.around(at, picture.naturalWidth / picture.naturalHeight)}, "guides");
                await editor.files.alsoPlan(file);
            } catch (error) {
                editor.say(`${file.name || "The image"} cannot be a guide: ${error.message}`, true);
            }
        }
    }
}
