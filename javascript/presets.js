// Presets: a list and its buttons, in the row below the editor.

class MixdiffPresets {
    // `files` is the row's MixdiffFiles.
    constructor(files) {
        this.files = files;
        this.list = MixdiffFiles.element("select", "mixdiff-presets", {"aria-label": "Preset"});
        files.bar.append(this.list);
        const ofChosen = [["Load", "Takes the preset's plan", () => this.load()], ["Rename…", "Gives the preset another name", () => this.rename()],
            ["Delete…", "Deletes the preset", () => this.remove()], ["Export", "Downloads the preset with its images", () => this.export()]];
        this.ofChosen = ofChosen.map(([text, title, act]) => files.button(text, title, act));
        files.button("Save as preset…", "Keeps the plan below under a name", () => this.save());
        files.button("Import…", "Keeps the plan of a file as a preset", () => files.choose((file) => this.import(file)));
        this.shelf = MixdiffFiles.element("details", "mixdiff-shelf", {"aria-label": "Presets that come with mixdiff"});
        this.shelf.append(MixdiffFiles.element("summary", "", {}, "Presets that come with mixdiff"), MixdiffFiles.element("div", "mixdiff-cards"));
        files.note.before(this.shelf);
        this.list.addEventListener("change", () => this.mark());
        this.list.addEventListener("focus", () => files.attempt(() => this.refresh()));         // others may have saved some
        new IntersectionObserver(([seen]) => seen.isIntersecting && files.attempt(() => this.refresh())).observe(files.bar);
        this.show({presets: [], shipped: []});
    }

    get name() {
        return this.list.value;
    }

    path(name) {
        return `presets/${encodeURIComponent(name)}`;
    }

    static as(method, body) {
        return {method, headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
    }

    async refresh(name = this.name) {
        this.show(await MixdiffFiles.ask("presets"), name);
    }

    show({presets: names, shipped}, name = "") {
        const option = (value, text = value) => MixdiffFiles.element("option", "", {value}, text);
        const now = [...this.list.options].slice(1).map((each) => each.value);
        if (!this.list.options.length || JSON.stringify(now) !== JSON.stringify(names)) {
            this.list.replaceChildren(option("", names.length ? "Presets" : "No presets yet"), ...names.map((each) => option(each)));
        }
        this.list.value = names.includes(name) ? name : "";
        this.mark();
        const cards = this.shelf.lastChild, seen = JSON.stringify(shipped);
        if (cards.dataset.seen === seen) return;
        cards.dataset.seen = seen;
        cards.replaceChildren(...shipped.map((each) => this.card(each)));
    }

    // A picture to press: the preset's plan comes into the text box.
    card({name, about}) {
        const made = MixdiffFiles.element("button", "", {type: "button", title: about});
        const picture = MixdiffFiles.element("img", "", {alt: "", loading: "lazy", src: `mixdiff/v1/${this.path(name)}/picture`});
        made.append(picture, MixdiffFiles.element("span", "", {}, name));
        made.addEventListener("click", () => this.files.attempt(() => this.load(name)));
        return made;
    }

    mark() {
        for (const button of this.ofChosen) button.hidden = !this.name;
    }

    async load(name = this.name) {
        const document = await MixdiffFiles.ask(this.path(name));
        await this.files.take(JSON.stringify(document), `preset ${name}`);
    }

    async save() {
        const text = this.files.text.value.trim();
        let plan;
        try {
            plan = JSON.parse(text || "{}");
        } catch (error) {
            throw new Error(`The plan below is not JSON: ${error.message}`);
        }
        await this.keep(plan, this.name);
    }

    // Asks for the name, and again before it overwrites.
    async keep(plan, suggested, left = []) {
        const name = window.prompt("Name of the preset:", suggested)?.trim();
        if (!name) return;
        let kept;
        try {
            kept = await MixdiffFiles.ask(this.path(name), MixdiffPresets.as("PUT", {plan}));
        } catch (error) {
            if (error.status !== 409) throw error;
            if (!window.confirm(`There is a preset “${name}” already. Overwrite it?`)) return;
            kept = await MixdiffFiles.ask(this.path(name), MixdiffPresets.as("PUT", {plan, overwrite: true}));
        }
        await this.refresh(kept.name);
        this.files.say(`Kept as preset ${kept.name}.${left.length ? " Left out, or not here:" : ""}`, left);
    }

    async rename() {
        const to = window.prompt("New name of the preset:", this.name)?.trim();
        if (!to || to === this.name) return;
        const {name} = await MixdiffFiles.ask(this.path(this.name), MixdiffPresets.as("PATCH", {name: to}));
        await this.refresh(name);
        this.files.say(`The preset is called ${name} now.`);
    }

    async remove() {
        const name = this.name;
        if (!window.confirm(`Delete the preset “${name}”?`)) return;
        this.show(await MixdiffFiles.ask(this.path(name), {method: "DELETE"}));
        this.files.say(`Deleted the preset ${name}.`);
    }

    async import(file) {
        const {plan, left_out: left} = await MixdiffFiles.read(file);
        await this.keep(plan, file.name.replace(/\.[^.]*$/, ""), left);
    }

    async export() {
        const name = this.name, text = JSON.stringify(await MixdiffFiles.ask(this.path(name)), null, 1);
        const url = URL.createObjectURL(new Blob([text], {type: "application/json"}));
        MixdiffFiles.element("a", "", {href: url, download: `${name}.json`}).click();
        setTimeout(() => URL.revokeObjectURL(url), 60000);
    }
}

(() => {
    const found = () => {
        for (const bar of document.querySelectorAll(".mixdiff-files:not([data-presets])")) {
            bar.dataset.presets = "1";
            new MixdiffPresets(bar.mixdiff);
        }
    };
    new MutationObserver(found).observe(document, {childList: true, subtree: true});
    found();
})();
