// The canvas on which regions, guides and phrases are drawn. The plan's text box is the only state: the editor shows what stands there and writes it there.

class MixdiffEditor {
    static POLL_MS = 300;

    constructor(root, tab) {
        this.root = root;
        this.tab = tab;
        this.plan = {};
        this.selected = 0;
        this.tool = "box";
        this.history = new MixdiffHistory();
        this.text = document.querySelector(`[id*=script_${tab}][id$=mixdiff_plan] textarea`);
        this.enabled = document.querySelector(`[id*=script_${tab}][id$=mixdiff_enabled] input`);
        this.note = MixdiffPage.element("div", "mixdiff-note", root, {role: "status"});
        new ResizeObserver(() => this.root.offsetParent === null ? this.sleep() : this.wake()).observe(root);
    }

    // --- while it is seen, and only then, it listens and asks ---

    async wake() {
        if (this.awake) return;
        this.awake = new AbortController();
        const {signal} = this.awake;
        try {
            await (this.building ??= this.build());
        } catch (error) {
            this.building = null;
            this.root.replaceChildren(this.note);
            this.sleep();
            this.say(`The canvas cannot be shown: ${error.message}`, true);
            return;
        }
        if (signal.aborted) return;
        this.text.addEventListener("input", () => this.fresh(), {signal});
        const timer = setInterval(() => {               // gradio tells nobody of what it writes, and of a slider before it writes its number
            this.fresh();
            this.follow();
        }, MixdiffEditor.POLL_MS);
        signal.addEventListener("abort", () => clearInterval(timer));
        this.words.listen(signal);
        this.read();
    }

    sleep() {
        this.awake?.abort();
        this.awake = null;
        this.check?.cancel();
    }

    async build() {
        this.schema = await MixdiffSchema.get();
        const body = MixdiffPage.element("div", "mixdiff-body", null), canvas = MixdiffPage.element("div", "mixdiff-canvas", body);
        this.pictures = new MixdiffPictures();
        this.job = new MixdiffJob(this.tab, () => this.plan.canvas);
        this.actions = new MixdiffActions(this);
        this.check = new MixdiffCheck(this, this.job);
        this.stage = new MixdiffStage(this, canvas);
        this.backdrop = new MixdiffBackdrop(this, this.stage.pictures);
        this.heat = new MixdiffHeat(this, this.stage.pictures);
        this.brush = new MixdiffBrush(this, this.stage);
        this.guides = new MixdiffGuides(this, this.stage.frame);
        this.toolbar = new MixdiffToolbar(this);
        canvas.append(this.toolbar.lower, this.note, MixdiffKeys.help());
        this.root.prepend(this.toolbar.node, body);         // before its parts: the WebUI translates a tooltip only of what is added by itself
        this.view = new MixdiffView(this.stage.frame, this.stage.node, () => this.toolbar.show());
        this.keys = new MixdiffKeys(this, new MixdiffHands(this, this.stage));
        this.toolbar.build();
        const side = MixdiffPage.element("div", "mixdiff-side", body);
        this.words = new MixdiffWords(this, side);
        this.panels = new MixdiffPanels(this, side);
        this.fold = new MixdiffFold(side, "Model: checkpoint, experts or ensemble");
        const [checkpoints] = ["checkpoints", "aggregators"].map((names) => MixdiffPage.element("datalist", "", side, {id: `mixdiff-${names}-${this.tab}`}));
        side.addEventListener("focusin", ({target}) => target.list === checkpoints && checkpoints.replaceChildren(...MixdiffPage.select(MixdiffPage.checkpoints.map((each) => [each, each])).children));
        this.model = new MixdiffModelField(this, this.fold.details, {of: (plan) => plan, place: "canvas"});
        this.amdm = new MixdiffAmdm(this, side);
        this.tiles = new MixdiffTiles(this, side);
        this.hires = new MixdiffHires(this, side);
        this.wrong = "";
    }

    // --- the plan ---

    get layers() {
        return MixdiffLayers.all(this.plan);
    }

    get layer() {
        return this.layers[this.selected];
    }

    // Of a layer, also of one that is yet to come: each list goes on where the colours of the one before end.
    color({list, index}) {
        const lists = Object.keys(MixdiffLayers.TITLES), before = this.layers.filter((layer) => lists.indexOf(layer.list) < lists.indexOf(list));
        return this.schema.color(before.length + index);
    }

    read() {
        this.written = this.text.value;
        try {
            this.plan = MixdiffEditor.parsed(this.text.value);
            this.say("");
        } catch (error) {
            this.check?.cancel();
            this.say(`The plan below cannot be drawn, it is not JSON: ${error.message}`, true);
            return;
        }
        this.show();
    }

    static parsed(text) {
        const plan = text.trim() ? JSON.parse(text) : {};
        const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
        const isBox = (box) => box === undefined || box === null || (Array.isArray(box) && box.length === 4 && box.every(Number.isFinite));
        const isList = (list) => Array.isArray(list) && list.every((item) => isObject(item) && isBox(item.box));
        const isPlan = (each) => isObject(each) && isObject(each.paint || {}) && Object.keys(MixdiffLayers.TITLES).every((list) => isList(MixdiffLayers.list(each, list)));
        const models = MixdiffAmdm.models(plan ?? {});
        if (!isPlan(plan) || !isObject(plan.amdm || {}) || !isList(models) || !models.every((model) => isPlan(model.plan || {}))) {
            throw new SyntaxError("a plan is an object, as is its paint, its amdm and a model's plan; regions, guides, phrases and models are lists of objects, a box is four numbers");
        }
        return plan;
    }

    // What was typed or pasted in the meantime.
    fresh() {
        if (this.text.value === this.written) return;
        this.words?.drop();
        this.read();
    }

    // The job that the page's fields describe now.
    follow() {
        const now = JSON.stringify([this.job.fields, this.job.aspect]);
        if (now !== this.followed) {
            this.followed = now;
            this.stage.arrange();
            this.panels.fill();
            this.words.fill();
            this.check.soon();
        }
        this.backdrop.follow();
    }

    // Every edit is one change of a copy of the plan; `again` says that it goes on with the last one, which one undo takes back.
    edit(change, again = false) {
        this.fresh();
        const plan = JSON.parse(JSON.stringify(this.plan)), painted = this.words?.index >= 0;
        plan.regions = plan.regions || [];
        change(plan);
        MixdiffLayers.tidy(plan);
        const text = MixdiffEditor.spelled(plan);
        if (text === this.written) return false;
        if (!again) this.history.changed(this.written);
        this.plan = plan;
        if (painted && this.words.index < 0) this.words.drop();
        this.write(text);
        const {regions, ...rest} = this.plan;
        if ((this.layers.length || Object.keys(rest).length) && this.enabled && !this.enabled.checked) this.enabled.click();
        return true;
    }

    // JSON with lists of numbers on one line.
    static spelled(plan) {
        return JSON.stringify(plan, null, 1).replace(/\[\s+([-\d.,\s]+?)\s+\]/g, (_, numbers) => `[${numbers.replace(/\s+/g, " ")}]`);
    }

    write(text) {
        this.text.value = text;
        this.read();
        this.text.dispatchEvent(new Event("input", {bubbles: true}));
    }

    undo(back = true) {
        this.fresh();
        const text = this.history.step(this.written, back);
        if (text !== undefined) this.write(text);
    }

    // --- what is seen ---

    show() {
        this.selected = Math.max(0, Math.min(this.selected, this.layers.length - 1));
        if (!this.stage) return;
        this.stage.show();
        this.panels.show();
        this.model.fill();
        this.fold.use(Boolean(this.plan.model));
        for (const panel of [this.amdm, this.tiles, this.hires]) panel.show();
        this.words.fill();
        this.toolbar.show();
        this.check.soon();
    }

    // What the server says of the passes.
    readout([first, hires]) {
        this.fold.read(first.shares.model, "What it takes of the first pass's work beside one checkpoint");
        this.panels.readout(first);
        for (const panel of [this.model, this.amdm, this.tiles, this.hires]) panel.read(first, hires);
    }

    // Where the server found something wrong, in the words of its message.
    mark(field = this.wrong) {
        this.wrong = field;
        for (const panel of [this.panels, this.model, this.amdm, this.tiles, this.hires]) panel.mark(field);
    }

    select(index, focus = true) {
        if (index !== this.selected || focus || this.words.pending !== null) {
            this.selected = Math.max(0, index);
            if (this.selected !== this.words.index) this.words.drop();
            this.stage.mark();
            this.panels.select();
            this.toolbar.show();
        }
        if (focus) this.stage.focus();
    }

    use(tool) {
        this.tool = tool;
        if (tool !== "brush") this.words.drop();
        this.stage.node.dataset.tool = tool;
        this.brush.hide();
        this.toolbar.show();
    }

    // What is wrong is said in any case; all else waits while the first stroke of a phrase is waited for.
    say(text, bad = false) {
        const pending = bad ? null : this.words?.pending ?? null;
        this.note.textContent = pending === null ? text : `Paint where "${pending}" belongs.`;
        this.note.classList.toggle("error", bad);
    }
}

(() => {
    // Both tabs are there at once; then there is nothing more to wait for.
    const watch = new MutationObserver(() => {
        const roots = document.querySelectorAll(".mixdiff-editor[data-tab]"), texts = document.querySelectorAll("[id$=mixdiff_plan] textarea");
        if (!roots.length || roots.length > texts.length) return;
        for (const root of roots) root.mixdiff ??= new MixdiffEditor(root, root.dataset.tab);
        watch.disconnect();
    });
    watch.observe(document, {childList: true, subtree: true});
})();
