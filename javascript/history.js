// What the plan's text was, for undo and redo.

class MixdiffHistory {
    constructor() {
        this.past = [];
        this.future = [];
    }

    changed(from) {
        this.past.push(from);
        this.future = [];
    }

    // The text before (or with `back` false after) `now`; undefined where there is none.
    step(now, back = true) {
        const [from, to] = back ? [this.past, this.future] : [this.future, this.past];
        if (from.length) to.push(now);
        return from.pop();
    }
}
