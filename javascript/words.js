// Paint with words: the words last selected in a prompt, the phrase that is being painted, and the prompts with their phrases underlined.

class MixdiffWords {
    static HINT = "Select words here or in a prompt, press Paint words, and paint where they belong.";
    static NONE = "Select words in the prompt first, then press Paint words.";
    static FIELDS = [{record: "Paint", path: ["strength"], title: "Strength"}, {record: "Paint", path: ["scale"], title: "Scale"},
        {record: "Range", path: ["range", "unit"], title: "Acts"}, {record: "Range", path: ["range", "from"], title: "From", otherwise: "the beginning"},
        {record: "Range", path: ["range", "to"], title: "To", otherwise: "the end"}];

    constructor(editor, parent) {
        this.editor = editor;
        this.chosen = "";
        this.phrase = null;
        const {element} = MixdiffPage;
        this.node = element("section", "mixdiff-words", parent, {"aria-label": "Words", hidden: ""});
        this.texts = element("div", "mixdiff-texts", this.node, {tabindex: 0, role: "group", "aria-label": "Prompts"});
        element("p", "mixdiff-hint", this.node).textContent = MixdiffWords.HINT;
        this.fold = new MixdiffFold(parent, "Paint: where words belong");
        const of = (plan, make) => plan.paint || (make ? plan.paint = {} : {}), grid = element("div", "mixdiff-grid", this.fold.details);
        this.fields = MixdiffWords.FIELDS.map((spec) => new MixdiffField(editor, grid, {of, ...spec}));
        this.looks = new MixdiffSetting(editor, grid, "mixdiff_looks", "Pictures of where words look");
    }

    // --- what is selected ---

    // While the editor is awake; what was selected in the prompt before it woke, too.
    listen(signal) {
        const {prompt} = this.editor.job;
        if (prompt) this.choose(prompt.value.slice(prompt.selectionStart, prompt.selectionEnd), prompt);
        document.addEventListener("selectionchange", () => {
            const area = document.activeElement, {panels, job} = this.editor;
            if (area && (area === job.prompt || area === job.hiresPrompt || (panels.cards.contains(area) && area.matches("textarea[data-key=prompt]")))) {
                this.choose(area.value.slice(area.selectionStart, area.selectionEnd), area);
                return;
            }
            const selection = document.getSelection();
            if (this.texts.contains(selection.anchorNode) && this.texts.contains(selection.focusNode)) this.choose(selection.toString());
        }, {signal});
    }

    // Remembered until something else is selected, or nothing where it was.
    choose(text, area = null) {
        const words = MixdiffWords.plain(text);
        if (!words && (!area || area !== this.area)) return;
        this.chosen = words;
        this.area = area;
    }

    // The words alone, without emphasis and what divides them from others.
    static plain(text) {
        return text.replace(/(?<!\\)[()[\]]|:\s*[\d.]+\s*(?=[)\]])/g, " ").replace(/\s+/g, " ").replace(/^[\s,.;:]+|[\s,.;:]+$/g, "");
    }

    // --- what is painted ---

    get index() {
        return this.phrase === null ? -1 : this.editor.layers.findIndex((layer) => MixdiffWords.isOf(layer, this.phrase));
    }

    static isOf({list, item}, phrase) {
        const same = (text) => MixdiffWords.plain(String(text ?? "")).toLowerCase();
        return list === "phrases" && same(item.phrase) === same(phrase);
    }

    // A phrase that waits for its first stroke; taken back, it waits again.
    get pending() {
        return this.index < 0 ? this.phrase : null;
    }

    async paint() {
        const {editor} = this;
        await editor.brush.saved;
        if (!this.chosen) {
            editor.say(MixdiffWords.NONE);
            return;
        }
        editor.use("brush");
        this.phrase = this.chosen;
        if (this.pending === null) editor.select(this.index);
        else {
            editor.stage.node.focus({preventScroll: true});
            editor.say("");
            editor.stage.mark();
            this.fill();
        }
    }

    // Another layer or another tool.
    drop() {
        const {editor, pending} = this;
        this.phrase = null;
        if (pending === null) return;
        editor.say("");
        editor.stage.mark();
        editor.check.soon();
        this.fill();
    }

    // --- what is shown ---

    // The texts of the job, with the names by which `in` calls them.
    get prompts() {
        const {job, plan} = this.editor, {prompt, hr_prompt: hires} = job.fields, regions = MixdiffLayers.list(plan, "regions");
        const base = ["base", ...regions.filter((region) => !region.prompt).map((region) => region.name)];
        return [{title: "Prompt", text: prompt, names: base}, {title: "Hires prompt", text: hires, names: base}, ...regions.map((region, index) => ({
            title: MixdiffLayers.title({list: "regions", index}), text: region.prompt, names: [region.name], onlyPainted: true}))];
    }

    fill() {
        for (const field of this.fields) field.fill();
        const {editor, pending} = this;
        const phrases = MixdiffLayers.list(editor.plan, "phrases").map(({phrase, in: names}, index) => ({phrase, in: names, color: editor.color({list: "phrases", index})}));
        this.fold.use(phrases.length > 0);
        if (pending !== null) phrases.push({phrase: pending, color: editor.color({list: "phrases", index: phrases.length}), pending: true});
        const shown = this.prompts.filter(({text}) => typeof text === "string" && text.trim()).map(({title, text, names, onlyPainted}) => {
            const own = phrases.filter((phrase) => !Array.isArray(phrase.in) || phrase.in.some((name) => names.includes(name)));
            return {title, onlyPainted, parts: MixdiffWords.parts(text, own)};
        }).filter(({onlyPainted, parts}) => !onlyPainted || parts.some(({of}) => of));
        const wanted = JSON.stringify(shown);
        if (wanted === this.shown) return;              // what is selected there stays selected
        this.shown = wanted;
        this.node.hidden = !shown.length;
        this.texts.replaceChildren(...shown.map(({title, parts}) => {
            const text = MixdiffPage.element("p", "mixdiff-text", null);
            MixdiffPage.element("b", "", text).textContent = title;
            for (const part of parts) text.append(part.of ? MixdiffWords.underlined(part) : part.text);
            return text;
        }));
    }

    static underlined({text, of}) {
        const made = MixdiffPage.element("u", of.pending ? "pending" : "", null, {title: `${of.pending ? "to be painted" : "painted"}: ${of.phrase}`});
        made.style.setProperty("--color", of.color);
        made.textContent = text;
        return made;
    }

    // A text cut where phrases begin and end, each part with the phrase that it is `of`; a later phrase lies on an earlier one.
    static parts(text, phrases) {
        const of = new Array(text.length).fill(null), parts = [];
        for (const phrase of phrases) {
            for (const {0: found, index} of text.matchAll(MixdiffWords.pattern(phrase.phrase))) of.fill(phrase, index, index + found.length);
        }
        for (let start = 0, end = 1; start < text.length; start = end++) {
            while (end < text.length && of[end] === of[start]) end++;
            parts.push({text: text.slice(start, end), of: of[start]});
        }
        return parts;
    }

    // Its words in a prompt: whole ones, whatever their case, with spaces or emphasis between them.
    static pattern(phrase) {
        const words = MixdiffWords.plain(String(phrase ?? "")).split(" ").filter(Boolean).map((word) => word.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
        if (!words.length) return /(?!)/g;
        const between = String.raw`(?:\s|[()[\]]|:\s*[\d.]+\s*(?=[)\]]))+`;
        return new RegExp(String.raw`(?<![\p{L}\p{N}_])${words.join(between)}(?![\p{L}\p{N}_])`, "giu");
    }
}
