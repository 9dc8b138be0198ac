// A part of the panel below a title, which says what share of the work it takes: open while it is in use.

class MixdiffFold {
    constructor(parent, title) {
        const {element} = MixdiffPage;
        this.details = element("details", "mixdiff-base", parent);
        const summary = element("summary", "", this.details);
        element("span", "", summary).textContent = title;
        this.cost = element("span", "mixdiff-cost", summary);
        this.some = false;
    }

    // Opened or closed by hand it stays so until that changes; nothing closes under the keyboard.
    use(some) {
        if (some !== this.some && (some || !this.details.contains(document.activeElement))) this.details.open = some;
        this.some = some;
    }

    // A share of the work, 0 to 1; undefined where nothing is known.
    read(share, title = MixdiffFold.FIRST) {
        this.cost.textContent = MixdiffFold.percent(share);
        this.cost.title = this.cost.textContent && title;
    }

    static FIRST = "Its share of the first pass's work";

    static percent(share) {
        return share === undefined ? "" : share > 0 && share < 0.005 ? "< 1 %" : `${Math.round(100 * share)} %`;
    }
}
