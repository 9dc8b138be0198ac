// The hires pass: the same plan, none, or one that a patch (RFC 7396) makes of it.

class MixdiffHires {
    static KINDS = {same: "the same plan", plain: "no plan", patch: "the plan with these changes"};

    constructor(editor, parent) {
        this.editor = editor;
        const {labelled, select} = MixdiffPage;
        this.fold = new MixdiffFold(parent, "Hires pass: what changes there");
        this.kind = select(Object.entries(MixdiffHires.KINDS), {"data-key": "hires"});
        labelled("Hires pass", this.kind, this.fold.details, "mixdiff-field");
        this.kind.addEventListener("change", () => editor.edit((plan) => {
            const {value} = this.kind;
            this.asked = value === "patch";         // an empty patch is the same plan, to be typed into
            if (value === "plain") plan.hires = false;
            else if (value === "same" || plan.hires === false) delete plan.hires;
        }) || this.show());
        const of = (plan) => ({get plan() { return plan.hires || undefined; }, set plan(patch) { plan.hires = patch; }});
        this.patch = new MixdiffPlanField(editor, this.fold.details, {title: "Changes (a JSON merge patch: null takes away)", otherwise: '{"tiles": {}, "regions": null}', of, described: ["Plan", "hires"]});
        this.label = this.patch.control.closest("label");
    }

    show() {
        const {hires} = this.editor.plan, some = hires === false || Object.keys(hires ?? {}).length > 0;
        const kind = hires === false ? "plain" : some || this.asked ? "patch" : "same";
        this.fold.use(kind !== "same");
        if (this.kind !== document.activeElement) this.kind.value = kind;
        this.label.hidden = kind !== "patch";
        this.patch.fill();
    }

    read(first, hires) {
        this.fold.read(hires?.share, "The hires pass's share of the job's work");
    }

    // Where the server found something wrong: "hires.regions[0].weight".
    mark(field) {
        MixdiffPanels.mark(this.fold.details, /^hires\b/.test(field), ["plan"]);
        if (this.patch.wrong) this.patch.control.setAttribute("aria-invalid", "true");
    }
}
