// What the server says of the plan as it is edited: what is wrong, what it costs, its prompts' tokens, its influence.

class MixdiffCheck {
    static WAIT_MS = 300;

    constructor(editor, job) {
        this.editor = editor;
        this.job = job;
    }

    post(route) {
        return fetch(`mixdiff/v1/${route}`, {method: "POST", headers: {"Content-Type": "application/json"},
            body: JSON.stringify({plan: this.editor.plan, job: this.job.fields})});
    }

    cancel() {
        clearTimeout(this.waiting);
    }

    soon() {
        this.cancel();
        this.stale = this.editor.note.textContent;
        if (this.editor.awake) this.waiting = setTimeout(() => this.now(), MixdiffCheck.WAIT_MS);
    }

    async now() {
        const {editor} = this, asked = editor.written;
        try {
            const answer = await this.post("check"), found = await answer.json();
            if (asked !== editor.written || !editor.awake) return;
            editor.mark(answer.ok ? "" : found.field || "");
            editor.readout(found.cost?.passes ?? [{shares: {}}]);
            editor.panels.count(found.tokens ?? []);
            if (!answer.ok) {
                editor.say(found.errors || "the plan cannot be checked", true);
                return;
            }
            const words = this.words(found.cost), {textContent, classList} = editor.note;
            const old = textContent === this.stale && (words || classList.contains("error"));        // what an action has said since stays
            if (old || textContent === this.said) editor.say(this.said = words);
            await editor.heat.draw(asked);
        } catch (error) {
            editor.say(`The plan could not be checked: ${error.message}`, true);
        }
    }

    // What a job costs; nothing of a plain one.
    words({calls, work, passes}) {
        const mixed = passes.map(({amdm}, i) => amdm && `AMDM: ${amdm.models} models in the first ${amdm.steps === 1 ? "step" : `${amdm.steps} steps`}${i ? " of the hires pass" : ""}.`)
            .filter(Boolean);
        if (!this.editor.layers.length && work === 1 && !mixed.length) return "";
        return [`${calls} U-Net calls, ${work.toFixed(2)} times the work of the plain job.`, ...mixed].join(" ");
    }
}
