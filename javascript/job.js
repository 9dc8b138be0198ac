// The job that the tab's own fields describe.

class MixdiffJob {
    // `canvas` tells the plan's own size, where it has one.
    constructor(tab, canvas) {
        this.tab = tab;
        this.canvas = canvas;
        this.known = [1, 1];
    }

    input(id) {
        return document.querySelector(`#${this.tab}_${id} input`);
    }

    number(id) {
        return Number(this.input(id)?.value) || undefined;
    }

    get hires() {
        return this.tab === "txt2img" && Boolean(document.querySelector("#txt2img_hr-checkbox input")?.checked);
    }

    get prompt() {
        return document.querySelector(`#${this.tab}_prompt textarea`);
    }

    get hiresPrompt() {
        return this.hires ? document.querySelector("#hires_prompt textarea") : null;
    }

    get styles() {
        return [...document.querySelectorAll(`#${this.tab}_styles .token`)].map((token) => token.textContent.trim());
    }

    // What the img2img tab that is seen works on.
    get image() {
        return [...document.querySelectorAll("#mode_img2img > .tabitem")].find((tab) => tab.offsetParent)?.querySelector("img");
    }

    // Of "Resize by", where that is chosen.
    get scale() {
        return this.tab === "img2img" && document.querySelector("#img2img_tab_resize_by")?.offsetParent ? this.number("scale") : undefined;
    }

    // Width and height in px of the first pass; what they were while one of them is being typed, or there is no image to resize.
    get size() {
        const {scale, image} = this, canvas = this.canvas();
        const size = Array.isArray(canvas) ? canvas.map(Number) : scale ? [image?.naturalWidth, image?.naturalHeight].map((side) => Math.floor(side * scale)) : [this.number("width"), this.number("height")];
        if (size[0] && size[1]) this.known = size;
        return this.known;
    }

    // Width / height of the picture: a hires pass that is given both cuts what is too much.
    get aspect() {
        const [width, height] = this.hires && this.number("hr_resize_x") && this.number("hr_resize_y")
            ? [this.number("hr_resize_x"), this.number("hr_resize_y")] : this.size;
        return width / height;
    }

    // As a request would have them.
    get fields() {
        const [width, height] = this.size;
        const job = {prompt: this.prompt?.value, styles: this.styles, width, height, steps: this.number("steps"), cfg_scale: this.number("cfg_scale"), batch_size: this.number("batch_size"),
            n_iter: this.number("batch_count"), denoising_strength: this.number("denoising_strength"), sampler_name: this.input("sampling")?.value, scheduler: this.input("scheduler")?.value};
        if (this.tab === "img2img") return {...job, init_images: []};
        if (!this.hires) return job;
        const own = (id) => [document.querySelector(`#${id} input`)?.value].find((name) => name && !name.startsWith("Use same"));
        return {...job, enable_hr: true, hr_sampler_name: own("hr_sampler"), hr_scheduler: own("hr_scheduler"), hr_prompt: this.hiresPrompt?.value || undefined, hr_scale: this.number("hr_scale"), hr_resize_x: this.number("hr_resize_x"),
            hr_resize_y: this.number("hr_resize_y"), hr_second_pass_steps: this.number("hires_steps")};
    }
}
