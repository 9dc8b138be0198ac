// One field of the plan, as the schema describes it. Empty, or at its default, it is not in the plan.

class MixdiffField {
    // `of` returns the region, the guide or the base of a plan; `path` leads from there.
    constructor(editor, parent, {record, path, title, otherwise, rows, wide, of}) {
        Object.assign(this, {editor, path, of, typing: false});
        const {element, labelled, select} = MixdiffPage;
        this.described = editor.schema.field(record, path[path.length - 1]);
        const {type, minimum, maximum, default: usual, description} = this.described, attributes = {"data-key": path[0], ...description && {title: description}};
        if (this.described.enum) this.control = select([...path.length > 1 ? [["", "always"]] : [], ...this.described.enum.map((name) => [name, name])], attributes);
        else if (type === "boolean") this.control = element("input", "", null, {type: "checkbox", ...attributes});
        else if (rows) this.control = element("textarea", "", null, {rows, ...attributes});
        else if (type === "string") this.control = element("input", "", null, {type: "text", ...attributes});
        else this.control = element("input", "", null, {type: "number", min: minimum, ...maximum !== undefined && {max: maximum}, step: type === "integer" ? 1 : "any", ...attributes});
        if (otherwise || (usual !== null && usual !== undefined)) this.control.placeholder = otherwise || usual;
        this.label = labelled(title, this.control, parent, `mixdiff-field ${rows ? "prompt " : ""}${rows || wide ? "mixdiff-wide" : type === "boolean" ? "mixdiff-check" : ""}`);
        this.control.addEventListener(this.described.enum || type === "boolean" ? "change" : "input", () => this.write());
        this.control.addEventListener("blur", () => { this.typing = false; });
        this.fill();
    }

    get value() {
        return this.path.reduce((item, key) => item?.[key], this.of(this.editor.plan));
    }

    fill() {
        const {control, described, path} = this, value = this.value ?? described.default;
        if (path.length > 1 && !described.enum) this.label.hidden = !this.of(this.editor.plan)?.[path[0]];
        if (control === document.activeElement && control.matches("textarea, [type=text], [type=number]")) return;
        if (described.type === "boolean") control.checked = value;
        else if (described.enum) control.value = path.length > 1 ? this.of(this.editor.plan)?.[path[0]] ? value : "" : value;
        else control.value = this.value ?? "";
    }

    write() {
        const {control, described, path} = this, [first, ...rest] = path, text = control.value;
        let value = described.type === "boolean" ? control.checked : text === "" ? undefined : control.type === "number" ? Number(text) : text;
        if (described.default !== null && value === described.default && (described.enum || described.type === "boolean")) value = undefined;
        this.editor.edit((plan) => {
            const item = this.of(plan, true);
            if (described.enum && rest.length) {                        // another unit: the numbers meant the old one's
                if (text) item[first] = {[rest[0]]: text};
                else delete item[first];
                return;
            }
            const home = rest.length ? item[first] = item[first] || {} : item;
            if (value === undefined) delete home[path[path.length - 1]];
            else home[path[path.length - 1]] = value;
        }, this.typing);
        this.typing = !described.enum && described.type !== "boolean";
    }
}

// The box in px of the first pass.
class MixdiffBoxFields {
    static TITLES = ["X", "Y", "Width", "Height"];

    constructor(editor, parent, layer) {
        Object.assign(this, {editor, layer});
        this.controls = MixdiffBoxFields.TITLES.map((title, i) => {
            const control = MixdiffPage.element("input", "", null, {type: "number", min: 0, step: editor.schema.cellPx, "data-key": "box", title: "px"});
            MixdiffPage.labelled(title, control, parent, "mixdiff-field");
            control.addEventListener("change", () => control.value !== "" && this.write(i, Number(control.value)));
            return control;
        });
        this.fill();
    }

    get box() {
        const layer = this.editor.layers.find(({list, index}) => list === this.layer.list && index === this.layer.index);
        return layer && this.editor.stage.box(layer);
    }

    fill() {
        const {size} = this.editor.job, {box} = this;
        if (!box) return;
        [box[0], box[1], box[2] - box[0], box[3] - box[1]].forEach((value, i) => {
            const control = this.controls[i];
            if (control !== document.activeElement) control.value = Number((value * size[i % 2]).toFixed(2));
        });
    }

    write(i, px) {
        const value = px / this.editor.job.size[i % 2], [left, top, right, bottom] = this.box, cell = this.editor.actions.grid.cell;
        const by = i < 2 ? [value - left, value - top][i] : value;
        const box = [[left + by, top, right + by, bottom], [left, top + by, right, bottom + by],
            [left, top, left + Math.max(by, cell[0]), bottom], [left, top, right, top + Math.max(by, cell[1])]][i];
        this.editor.actions.change(this.layer, (item) => { item.box = box.map(MixdiffGrid.fraction); });
    }
}

// Where a phrase acts: wherever it occurs, or in one of the plan's texts. Several, which only the plan's text can say, stay as they are.
class MixdiffWhereField {
    constructor(editor, parent, layer) {
        Object.assign(this, {editor, layer});
        this.control = MixdiffPage.select([], {"data-key": "in", title: editor.schema.field("Phrase", "in").description});
        MixdiffPage.labelled("Where", this.control, parent, "mixdiff-field mixdiff-wide");
        this.control.addEventListener("change", () => this.write());
        this.fill();
    }

    fill() {
        const {plan} = this.editor, item = MixdiffLayers.list(plan, this.layer.list)[this.layer.index], own = item?.in ? JSON.stringify(item.in) : "";
        const names = MixdiffLayers.list(plan, "regions").map((region) => region.name).filter(Boolean);
        const choices = [["", "wherever it occurs"], ['["base"]', "the base"], ...names.map((name) => [JSON.stringify([name]), name])];
        if (!choices.some(([value]) => value === own)) choices.push([own, [item.in].flat().join(", ")]);
        this.control.replaceChildren(...MixdiffPage.select(choices).children);
        this.control.value = own;
    }

    write() {
        const {value} = this.control;
        this.editor.actions.change(this.layer, (item) => {
            if (value) item.in = JSON.parse(value);
            else delete item.in;
        });
    }
}

// A plan inside the plan, that of one of AMDM's models or the hires pass's patch, as JSON. What is none is marked and not written.
class MixdiffPlanField {
    constructor(editor, parent, {title, otherwise, of, described = ["AmdmModel", "plan"]}) {
        Object.assign(this, {editor, of, typing: false, wrong: false});
        const {description = ""} = editor.schema.field(...described);
        this.control = MixdiffPage.element("textarea", "mixdiff-json", null, {rows: 4, spellcheck: false, "data-key": "plan", title: description, placeholder: otherwise});
        MixdiffPage.labelled(title, this.control, parent, "mixdiff-field mixdiff-wide");
        this.control.addEventListener("input", () => this.write());
        this.control.addEventListener("blur", () => { this.typing = false; });
        this.fill();
    }

    // What is being typed stays as it is spelled.
    fill() {
        const {plan} = this.of(this.editor.plan), text = plan ? MixdiffEditor.spelled(plan) : "";
        if (text === this.text) return;
        this.text = this.control.value = text;
        this.wrong = false;
    }

    write() {
        const {editor, control} = this;
        let plan = null;
        try {
            plan = MixdiffEditor.parsed(control.value);
        } catch (error) {
            editor.check.cancel();
            editor.say(`This plan is not JSON: ${error.message}`, true);
        }
        this.wrong = !plan;
        editor.mark();
        if (!plan) return;
        this.text = Object.keys(plan).length ? MixdiffEditor.spelled(plan) : "";
        editor.edit((whole) => { this.of(whole).plan = plan; }, this.typing);
        this.typing = true;
        editor.check.soon();            // also where nothing is new but that it is JSON again
    }
}

// One of the settings, as a user would change it on the settings page: for this and all later jobs.
class MixdiffSetting {
    constructor(editor, parent, name, title) {
        Object.assign(this, {editor, name});
        this.control = MixdiffPage.select([], {title: "One of the settings: of all jobs, from now on"});
        this.label = MixdiffPage.labelled(title, this.control, parent, "mixdiff-field mixdiff-wide");
        this.control.addEventListener("change", () => this.write());
        for (const kind of ["focus", "pointerenter"]) this.control.addEventListener(kind, () => this.read());
        this.read();
    }

    async read() {
        const answer = await fetch("mixdiff/v1/settings").catch(() => null);
        if (answer?.ok) this.show((await answer.json())[this.name]);
    }

    show({value, choices}) {
        if (this.control.options.length !== choices.length) this.control.replaceChildren(...MixdiffPage.select(choices.map((each) => [each, each])).children);
        this.control.value = value;
    }

    async write() {
        const {value} = this.control, body = JSON.stringify({[this.name]: value});
        document.querySelector(`#setting_${this.name} input[value="${value}"]`)?.click();       // what the settings page has not shown it would put back
        const answer = await fetch("mixdiff/v1/settings", {method: "PUT", headers: {"Content-Type": "application/json"}, body}).catch(() => ({ok: false}));
        const found = answer.ok ? {} : await answer.json?.().catch(() => ({})) ?? {};
        await this.read();
        if (!answer.ok) this.editor.say(found.errors ?? "The setting could not be changed.", true);
    }
}
