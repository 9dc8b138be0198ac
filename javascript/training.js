// What trains, as the server says: how far it is, its curves and sample pictures, and the buttons that end it or go on.

class MixdiffTraining {
    static POLL_MS = 1000;
    static STATES = {running: "Training", paused: "Paused", stopped: "Stopped; what it has learned so far is kept", finished: "Finished", failed: "It has failed",
        interrupted: "Interrupted: the WebUI ended without it. It goes on from its last snapshot"};

    constructor(root) {
        this.root = root;
        this.name = "";                 // of the one that is shown; none: the one that runs, or the latest
        const {element, button, select} = MixdiffPage;
        root.classList.add("mixdiff-editor");
        const bar = element("div", "mixdiff-bar", root, {role: "toolbar", "aria-label": "Training"});
        this.list = select([], {"aria-label": "Training"});
        bar.append(this.list);
        this.list.addEventListener("change", () => { this.name = this.list.value; this.failed = ""; this.look(); });
        this.buttons = {
            pause: button("Pause", "Ends after the step at hand and frees the memory; goes on later as if it had not", bar, () => this.act(() => this.post("pause"))),
            resume: button("Resume", "Goes on from the last snapshot", bar, () => this.act(() => this.post("start"))),
            stop: button("Stop", "Ends after the step at hand, and keeps what is learned as a file to use", bar, () => this.act(() => this.post("stop"))),
            now: button("End now", "Ends at once; the steps since the last snapshot are lost", bar, () => this.act(() => this.post("pause", {now: true}))),
            remove: button("Delete…", "Deletes all but the file that it made", bar, () => this.act(() => this.remove())),
            use: button("Use in txt2img", "Puts the plan that uses it into mixdiff's accordion", bar, () => this.act(() => this.use())),
        };
        this.note = element("div", "mixdiff-note", root, {role: "status"});
        this.bar = element("progress", "mixdiff-progress", root, {max: 1, "aria-label": "Progress"});
        this.curves = element("div", "mixdiff-curves", root);
        this.sheet = element("figure", "mixdiff-sheet", root);
        this.image = element("img", "", this.sheet, {alt: ""});
        this.slider = element("input", "", this.sheet, {type: "range", min: 0, value: 0, "aria-label": "Sample pictures by step"});
        this.caption = element("figcaption", "", this.sheet);
        this.slider.addEventListener("input", () => { this.latest = this.slider.value === this.slider.max; this.picture(); });
        this.latest = true;
        this.left = element("details", "mixdiff-base", root);
        element("summary", "", this.left);
        element("ul", "", this.left);
        const said = element("details", "mixdiff-base", root);
        element("summary", "", said).textContent = "What it says";
        this.said = element("pre", "mixdiff-json", said);
        new ResizeObserver(() => this.root.offsetParent === null ? clearInterval(this.timer) : this.wake()).observe(root);
    }

    wake() {
        clearInterval(this.timer);
        this.timer = setInterval(() => this.look(), MixdiffTraining.POLL_MS);
        this.look();
    }

    async ask(route, options) {
        const answer = await fetch(`mixdiff/v1/train/${route}`, options), found = await answer.json();
        if (answer.status === 401) clearInterval(this.timer);           // the browser would ask for a login each second
        if (!answer.ok) throw Object.assign(new Error(found.errors || found.detail || `status ${answer.status}`), {status: answer.status});
        return found;
    }

    async look() {
        if (this.asking) return;
        this.asking = true;
        try {
            this.show(await this.ask(`status${this.name ? `?name=${encodeURIComponent(this.name)}` : ""}`));
        } catch (error) {
            this.name = "";             // it may have been deleted
            this.say(error.status ? error.message : `The WebUI does not answer: ${error.message}`, true);
        } finally {
            this.asking = false;
        }
    }

    // What a button does; what went wrong is said until the next one.
    async act(action) {
        this.failed = "";
        try {
            await action();
        } catch (error) {
            this.failed = error.message;
        }
        await this.look();
    }

    post(route, more = {}) {
        return this.ask(route, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({name: this.training.name, ...more})});
    }

    async remove() {
        if (!window.confirm(`Delete the training “${this.training.name}”? The file that it made stays.`)) return;
        await this.ask(encodeURIComponent(this.training.name), {method: "DELETE"});
        this.name = "";
    }

    // One change of the plan, which undo takes back.
    use() {
        const {mixdiff} = document.querySelector(".mixdiff-editor[data-tab=txt2img]"), plan = MixdiffEditor.parsed(mixdiff.text.value);
        mixdiff.history.changed(mixdiff.text.value);
        mixdiff.write(MixdiffEditor.spelled({...plan, ...this.training.plan}));
        if (!mixdiff.enabled.checked) mixdiff.enabled.click();
        this.used = this.training.name;
    }

    // --- what is seen ---

    say(text, bad = false) {
        if (text !== this.note.textContent) this.note.textContent = text;        // else it would be read out each second
        this.note.classList.toggle("error", bad);
    }

    show({trainings, training, live}) {
        if (live && live !== this.live) this.name = live;       // what has just begun is what is looked for
        this.live = live;
        const fresh = JSON.stringify(trainings) !== JSON.stringify(this.names);
        Object.assign(this, {names: trainings, training});
        if (fresh) this.list.replaceChildren(...MixdiffPage.select(trainings.map((name) => [name, name])).children);
        this.list.hidden = trainings.length < 1;
        for (const part of [this.bar, this.curves, this.sheet, this.left, this.said.parentElement]) part.hidden = !training;
        const state = training?.state, running = state === "running", pressed = document.activeElement;
        for (const [name, seen] of Object.entries({pause: running && !training.ends, stop: running && !training.ends, now: running,
            resume: training && !running && state !== "finished", remove: training && !running, use: training?.plan})) this.buttons[name].hidden = !seen;
        if (pressed.hidden && Object.values(this.buttons).includes(pressed)) this.list.focus();         // the keyboard stays where it was
        if (!training) {
            this.say("Nothing has been trained here yet. Fill in the form and press Train; it goes on when this page is closed.");
            return;
        }
        this.list.value = training.name;
        this.say(this.failed || this.words(training), Boolean(this.failed) || state === "failed");
        this.bar.value = training.step / training.steps;
        this.curves.replaceChildren(MixdiffCurve.draw("Loss", training.loss, training.steps, true), MixdiffCurve.draw("Validation", training.validation, training.steps));
        this.sheet.hidden = !training.samples.length;
        this.slider.max = training.samples.length - 1;
        if (this.latest) this.slider.value = this.slider.max;
        this.picture();
        const {count, first} = training.left_out, left = `${training.name} ${count}`;
        this.left.hidden = !count;
        if (left !== this.listed) {
            this.listed = left;
            this.left.firstChild.textContent = `${count} pictures are left out`;
            this.left.lastChild.replaceChildren(...[...first, ...count > first.length ? [`and ${count - first.length} more`] : []].map((text) => {
                const line = document.createElement("li");
                line.textContent = text;
                return line;
            }));
        }
        const said = training.said.join("\n");
        if (said !== this.said.textContent) this.said.textContent = said;
    }

    words({state, waits, ends, step, steps, left_s: left, said, file, name}) {
        const lines = said.filter((line) => !line.startsWith("{")), last = lines[lines.length - 1] || "", how = `step ${step} of ${steps}`;
        if (state === "failed") return `${MixdiffTraining.STATES.failed}: ${MixdiffTraining.message(lines)}`;
        if (state !== "running") {
            const result = file && state !== "paused" ? ` ${file}` : "";
            return `${MixdiffTraining.STATES[state]}, ${how}.${result}${this.used === name ? " Its plan is in txt2img." : ""}`;
        }
        if (ends) return `It ends after this step (${how}).`;
        if (!step) return `${waits ? "Waits for a picture. " : ""}${last || "Starts"}`;
        const time = left === null ? "" : `, ${MixdiffTraining.time(left)} left`;
        return `${waits ? "Waits for a picture" : "Training"}: ${how}${time}.`;
    }

    // The last that was said: one line, or one with a list below it and one more.
    static message(lines) {
        let start = lines.length - 1;
        while (lines[start - 1]?.startsWith("  ")) start--;
        return lines.slice(start < lines.length - 1 ? start - 1 : start).join("\n");
    }

    static time(seconds) {
        const minutes = Math.round(seconds / 60);
        return seconds < 90 ? `${Math.round(seconds)} s` : minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
    }

    picture() {
        const {name, samples} = this.training, file = samples[this.slider.value];
        if (!file) return;
        const source = `mixdiff/v1/train/${encodeURIComponent(name)}/${encodeURIComponent(file)}`;
        if (this.image.getAttribute("src") !== source) this.image.src = source;
        this.caption.textContent = `after step ${Number(file.slice(0, -4).split(".").pop())}`;
    }
}

// A curve over the steps.
class MixdiffCurve {
    static SIZE = [320, 120];

    static draw(title, points, steps, smooth = false) {
        const make = (tag, attributes, text = "") => {
            const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
            for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
            made.textContent = text;
            return made;
        };
        const [width, height] = MixdiffCurve.SIZE, values = points.map(([, value]) => value).filter(Number.isFinite), last = values[values.length - 1];
        const figure = document.createElement("figure"), svg = make("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} ${last?.toFixed(4) ?? ""}`});
        const caption = document.createElement("figcaption");
        caption.textContent = `${title} ${last?.toFixed(4) ?? ""}`;
        figure.hidden = !values.length;
        figure.append(caption, svg);
        if (!values.length) return figure;
        const low = Math.min(...values), high = Math.max(...values), span = high - low || 1;
        const found = points.filter(([, value]) => Number.isFinite(value)), line = (some, className) => make("polyline", {points: some.map(at).join(" "), class: className});
        const at = ([step, value]) => `${(step / steps * (width - 50) + 45).toFixed(1)},${((high - value) / span * (height - 20) + 10).toFixed(1)}`;
        svg.append(make("text", {x: 40, y: 14, "text-anchor": "end"}, high.toPrecision(3)), make("text", {x: 40, y: height - 7, "text-anchor": "end"}, low.toPrecision(3)),
            make("path", {d: `M45 8V${height - 8}H${width}`, class: "axes"}), line(found, smooth ? "each" : ""), ...smooth ? [line(MixdiffCurve.smooth(found), "")] : []);
        return figure;
    }

    // Each the mean of those around it: the loss of one batch says little.
    static smooth(points) {
        const reach = Math.max(2, Math.round(points.length / 20));
        return points.map(([step], i) => {
            const some = points.slice(Math.max(0, i - reach), i + reach + 1);
            return [step, some.reduce((sum, [, value]) => sum + value, 0) / some.length];
        });
    }
}

(() => {
    const watch = new MutationObserver(() => {
        const root = document.querySelector(".mixdiff-training");
        if (!root) return;
        root.mixdiff ??= new MixdiffTraining(root);
        watch.disconnect();
    });
    watch.observe(document, {childList: true, subtree: true});
})();
