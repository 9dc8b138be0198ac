// Images of plans: kept by the server, named by their hash.

class MixdiffPictures {
    constructor() {
        this.found = new Map();
        this.around = new Map();
    }

    // A whole one: in a property of CSS it would be read from where the style sheet lies.
    url(image) {
        if (image.startsWith("sha256:")) return new URL(`mixdiff/v1/assets/${image.slice(7).toLowerCase()}`, document.baseURI).href;
        return image.startsWith("data:") ? image : `data:image/png;base64,${image}`;
    }

    // The hash of a file; an Error with the server's sentence where it is none that a plan can use.
    async store(file) {
        const answer = await fetch("mixdiff/v1/assets", {method: "PUT", body: file}), found = await answer.json();
        if (!answer.ok) throw new Error(found.errors || `status ${answer.status}`);
        return found.sha256;
    }

    loaded(image) {
        if (!this.found.has(image)) {
            const picture = new Image();
            picture.src = this.url(image);
            this.found.set(image, picture.decode().then(() => picture, () => {
                this.found.delete(image);
                throw new Error("an image of the plan is not stored here, or is none");
            }));
        }
        return this.found.get(image);
    }

    // Around what is not black, in fractions: undefined until the mask is here (`then` is called), null where all is black.
    bounds(mask, then) {
        if (!this.around.has(mask)) {
            this.around.set(mask, undefined);
            this.loaded(mask).then((picture) => {
                const canvas = MixdiffPage.element("canvas", "", null, {width: picture.naturalWidth, height: picture.naturalHeight});
                const context = canvas.getContext("2d", {willReadFrequently: true});
                context.fillRect(0, 0, canvas.width, canvas.height);
                context.drawImage(picture, 0, 0);
                this.around.set(mask, MixdiffPictures.boundsOf(context));
                then();
            }, () => this.around.delete(mask));
        }
        return this.around.get(mask);
    }

    static boundsOf(context) {
        const {width, height} = context.canvas, {data} = context.getImageData(0, 0, width, height);
        let [left, top, right, bottom] = [width, height, 0, 0];
        for (let y = 0, i = 0; y < height; y++) {
            for (let x = 0; x < width; x++, i += 4) {
                if (!(data[i] || data[i + 1] || data[i + 2])) continue;
                left = Math.min(left, x);
                right = Math.max(right, x + 1);
                top = Math.min(top, y);
                bottom = y + 1;
            }
        }
        return right ? [left / width, top / height, right / width, bottom / height] : null;
    }
}
