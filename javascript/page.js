// Elements of the page, as the editor makes them.

class MixdiffPage {
    static element(tag, className, parent, attributes = {}) {
        const made = document.createElement(tag);
        made.className = className;
        for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
        parent?.append(made);
        return made;
    }

    static button(text, title, parent, act) {
        const made = MixdiffPage.element("button", "lg secondary gradio-button", parent, {type: "button", title,
            "aria-label": /\p{L}/u.test(text) && !title.startsWith(text) ? `${text}: ${title}` : title});      // begins with what is seen
        made.textContent = text;
        made.addEventListener("click", act);
        return made;
    }

    // A control with its name before it; its events stay here, the page's own fields have nothing to do with it.
    static labelled(text, control, parent, className = "") {
        const label = MixdiffPage.element("label", className, parent);
        MixdiffPage.element("span", "", label).textContent = text;
        label.append(control);
        for (const kind of ["input", "change"]) control.addEventListener(kind, (event) => event.stopPropagation());
        return label;
    }

    // Of the page's own list.
    static get checkpoints() {
        const list = window.gradio_config?.components.find(({props}) => props.elem_id === "setting_sd_model_checkpoint");
        return (list?.props.choices ?? []).map((choice) => [choice].flat()[0]);
    }

    static select(options, attributes = {}) {
        const made = MixdiffPage.element("select", "", null, attributes);
        for (const [value, text] of options) MixdiffPage.element("option", "", made, {value}).textContent = text;
        return made;
    }
}
