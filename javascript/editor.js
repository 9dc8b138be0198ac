// The canvas on which regions and guides are drawn. The plan's text box is the only state: the editor shows what stands there and writes it there.

class MixdiffEditor {
    static POLL_MS = 300;
    static LISTS = ["regions", "guides"];

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
        this.view = new MixdiffView(this.stage.frame, this.stage.node, () => this.toolbar.show());
        this.keys = new MixdiffKeys(this, new MixdiffHands(this, this.stage));
        this.toolbar.build();
        this.panels = new MixdiffPanels(this, MixdiffPage.element("div", "mixdiff-side", body));
        canvas.append(this.toolbar.lower, this.note, MixdiffKeys.help());
        this.root.prepend(this.toolbar.node, body);
    }

    // --- the plan ---

    // Regions, then guides, as they are shown: which list, which place in it, what it holds.
    get layers() {
        return MixdiffEditor.LISTS.flatMap((list) => (this.plan[list] || []).map((item, index) => ({list, index, item})));
    }

    get layer() {
        return this.layers[this.selected];
    }

    // Guides go on where the regions' colours end.
    color({list, index}) {
        return this.schema.color(list === "guides" ? (this.plan.regions || []).length + index : index);
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
        if (!isObject(plan) || !MixdiffEditor.LISTS.every((list) => isList(plan[list] || []))) {
            throw new SyntaxError("a plan is an object, its regions and guides are lists of objects, a box is four numbers");
        }
        return plan;
    }

    // What was typed or pasted in the meantime.
    fresh() {
        if (this.text.value !== this.written) this.read();
    }

    // The job that the page's fields describe now.
    follow() {
        const now = JSON.stringify([this.job.fields, this.job.aspect]);
        if (now !== this.followed) {
            this.followed = now;
            this.stage.arrange();
            this.panels.fill();
            this.check.soon();
        }
        this.backdrop.follow();
    }

    // Every edit is one change of a copy of the plan; `again` says that it goes on with the last one, which one undo takes back.
    edit(change, again = false) {
        this.fresh();
        const plan = JSON.parse(JSON.stringify(this.plan));
        plan.regions = plan.regions || [];
        change(plan);
        const text = MixdiffEditor.spelled(plan);
        if (text === this.written) return false;
        if (!again) this.history.changed(this.written);
        this.plan = plan;
        this.write(text);
        if (this.layers.length && this.enabled && !this.enabled.checked) this.enabled.click();
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
        this.toolbar.show();
        this.check.soon();
    }

    select(index, focus = true) {
        if (index !== this.selected || focus) {
            this.selected = Math.max(0, index);
            this.stage.mark();
            this.panels.select();
            this.toolbar.show();
        }
        if (focus) this.stage.focus();
    }

    use(tool) {
        this.tool = tool;
        this.stage.node.dataset.tool = tool;
        this.brush.hide();
        this.toolbar.show();
    }

    say(text, bad = false) {
        this.note.textContent = text;
        this.note.classList.toggle("error", bad);
    }
}

(() => {
    // Both tabs are there at once; then there is nothing more to wait for.
    const watch = new MutationObserver(() => {
        const roots = document.querySelectorAll(".mixdiff-editor"), texts = document.querySelectorAll("[id$=mixdiff_plan] textarea");
        if (!roots.length || roots.length > texts.length) return;
        for (const root of roots) root.mixdiff ??= new MixdiffEditor(root, root.dataset.tab);
        watch.disconnect();
    });
    watch.observe(document, {childList: true, subtree: true});
})();
