"""The tab AFA: a form for each kind of training. What runs is shown by javascript/training.js."""
from functools import partial
from html import escape

import gradio as gr
from modules import script_callbacks, sd_models
from modules.call_queue import queue_lock

from lib_mixdiff.errors import PlanError
from lib_mixdiff.fields import Choice, Integer, Number, Switch
from lib_mixdiff.host import form, trainings
from lib_mixdiff.host.dataset import look
from lib_mixdiff.nested import List

PAGES = {"afa": "Aggregator of an ensemble", "unet": "Expert"}
CHECKPOINTS = ("models", "checkpoint")


def control(target, entry):
    made = made_control(target, entry)
    made.do_not_save_to_config = True       # the WebUI keeps defaults by label, which the pages share
    return made


def made_control(target, entry):
    words = {"label": entry.label, "info": entry.info or None, "elem_id": f"mixdiff_training_{target}_{entry.key}"}
    if isinstance(entry.kind, Number):
        return gr.Number(entry.default, precision=0 if isinstance(entry.kind, Integer) else None, **words)
    words["elem_classes"] = "mixdiff-wide"
    if entry.key in CHECKPOINTS:
        return gr.Dropdown(form.titles(), value=[] if entry.key == "models" else None, multiselect=entry.key == "models", **words)
    if entry.key == "node":
        return gr.Dropdown(list(form.NODES), value=entry.default, **words)
    if entry.key == "prompts":
        return gr.Textbox("", lines=2, **words)
    if isinstance(entry.kind, Choice):
        return gr.Radio(list(entry.kind.values), value=entry.default, **words)
    if isinstance(entry.kind, Switch):
        return gr.Checkbox(entry.default, **words)
    if isinstance(entry.kind, List):
        return gr.CheckboxGroup(list(entry.kind.kind.values), value=[], **words)
    return gr.Textbox("", max_lines=1, **words)


def wrong(error):
    return f"<div class='mixdiff-note error'>{escape(str(error))}</div>"


def refreshed():
    with queue_lock:
        sd_models.list_models()
    return gr.Dropdown.update(choices=form.titles())


def begun(target, *values):
    try:
        trainings.start({"config": form.configuration(target, values)})
    except PlanError as error:
        return wrong(error)
    return ""


def weighed(target, *values):
    """What the training will take."""
    try:
        found = trainings.measured({"config": form.configuration(target, values)})
    except PlanError as error:
        return wrong(error)
    hours, minutes = divmod(round(found["seconds"] / 60), 60)
    memory = f"{found['memory_gb']:.1f} GB, " if found["memory_gb"] else ""
    epochs = f" ({found['epochs']:.1f} epochs of these pictures)" if found["epochs"] else ""
    time = f"{f'{hours} h ' if hours else ''}{minutes} min"
    return (f"<div class='mixdiff-note'>{memory}{found['seconds_per_step']:.2f} s a step: {time} for all{epochs}, beside encoding the "
            "pictures once.</div>")


def looked(folder, resolution):
    """The first pictures with their captions, and what is wrong with which."""
    try:
        found = look(folder, resolution and int(resolution))
    except PlanError as error:
        return wrong(error)
    sizes = ", ".join(f"{count} of {size}" for size, count in found["sizes"].items())
    more, bad = found["pictures"] - found["opened"], "".join(f"<li>{escape(each)}</li>" for each in found["bad"])
    text = f"<p>{found['usable']} pictures can be used ({sizes or 'none'}).</p>"
    text += f"<p>The other {more} are looked at before the training begins.</p>" if more else ""
    text += f"<p class='error'>{found['bad_count']} cannot:</p><ul>{bad}</ul>" if bad else ""
    cards = "".join(f"<figure><img src='{each['image']}' alt=''><figcaption>{escape(each['caption']) or '<i>no words</i>'}</figcaption>"
                    "</figure>" for each in found["shown"])
    return f"{text}<div class='mixdiff-cards'>{cards}</div>"


def page(target, entries):
    controls = {}
    for entry in entries:
        if not entry.more:
            controls[entry.key] = control(target, entry)
            if entry.key in CHECKPOINTS:
                again = gr.Button("Refresh checkpoints", size="sm", elem_id=f"mixdiff_training_{target}_refresh")
            if entry.key == "data":
                check = gr.Button("Look at the pictures", size="sm", elem_id=f"mixdiff_training_{target}_look")
                shown = gr.HTML("", elem_id=f"mixdiff_training_{target}_pictures", elem_classes="mixdiff-pictures-of")
    with gr.Accordion("More settings", open=False, elem_id=f"mixdiff_training_{target}_more"):
        controls |= {entry.key: control(target, entry) for entry in entries if entry.more}
    with gr.Row():
        measure = gr.Button("What will it take?", elem_id=f"mixdiff_training_{target}_measure")
        train = gr.Button("Train", variant="primary", elem_id=f"mixdiff_training_{target}_train")
    note = gr.HTML("", elem_id=f"mixdiff_training_{target}_note")
    chosen = controls["models" if target == "afa" else "checkpoint"]
    again.click(refreshed, None, chosen, api_name=False)
    check.click(looked, [controls["data"], controls["resolution"]], shown, api_name=False)
    values = [controls[entry.key] for entry in entries]
    measure.click(partial(weighed, target), values, note, api_name=False)
    train.click(partial(begun, target), values, note, api_name=False)


def on_ui_tabs():
    with gr.Blocks(analytics_enabled=False) as tab, gr.Row(elem_id="mixdiff_training"):
        with gr.Column(), gr.Tabs(elem_id="mixdiff_training_kinds"):
            for target, entries in form.forms().items():
                with gr.Tab(PAGES[target], elem_id=f"mixdiff_training_{target}"):
                    page(target, entries)
        with gr.Column():
            gr.HTML('<div class="mixdiff-training"></div>')
    return [(tab, "AFA", "mixdiff_afa")]


script_callbacks.on_ui_tabs(on_ui_tabs)
