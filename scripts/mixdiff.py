"""mixdiff for the AUTOMATIC1111 Stable Diffusion WebUI: the always-on script. The work is done in lib_mixdiff."""
import gradio as gr
from modules import script_callbacks, scripts, shared

from lib_mixdiff.host.axes import add_axes
from lib_mixdiff.host.routes import add_routes
from lib_mixdiff.host.run import Run
from lib_mixdiff.host.sampling import step_done
from lib_mixdiff.host.settings import OPTIONS
from lib_mixdiff.host.travel import carry, carry_in_file, has_plan, left_out, pasted

PLACEHOLDER = '{"regions": [{"box": [0, 0, 0.5, 1], "prompt": "a red circle"}, {"box": [0.5, 0, 1, 1], "prompt": "a blue cross"}]}'


class Script(scripts.Script):
    def title(self):
        return "mixdiff"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        with gr.Accordion("mixdiff", open=False, elem_id=self.elem_id("mixdiff")) as accordion:
            enabled = gr.Checkbox(False, label="Enable", elem_id=self.elem_id("mixdiff_enabled"))
            gr.HTML(f'<div class="mixdiff-editor" data-tab="{"img2img" if is_img2img else "txt2img"}"></div>')
            note = gr.HTML("", elem_id=self.elem_id("mixdiff_left_out"), elem_classes="mixdiff-left-out")
            plan = gr.Textbox("", label="Plan (JSON)", lines=4, max_lines=30, placeholder=PLACEHOLDER, elem_id=self.elem_id("mixdiff_plan"))
        self.infotext_fields = [(enabled, has_plan), (plan, "mixdiff"), (note, left_out),
                                (accordion, lambda found: gr.Accordion.update(open=True) if left_out(found) else None)]
        self.paste_field_names = ["mixdiff", has_plan]      # what "Send to" takes from tab to tab
        return [enabled, plan]

    def process(self, p, *args):
        Run.write(p, args)

    def process_batch(self, p, *args, **kwargs):
        Run.begin(p, args)

    def process_before_every_sampling(self, p, *args, x, noise, c, **kwargs):
        if (run := Run.of(p)) is not None:
            run.before_sampling(p, x, noise, c)

    def post_sample(self, p, ps, *args):
        Run.end(p, ps)

    def postprocess(self, p, processed, *args):
        carry(processed.images)
        Run.show(p, processed)


def on_ui_settings():
    for name, (default, label, choices, comment) in OPTIONS.items():
        listed = isinstance(choices, list)
        arguments = {"choices": choices} if listed else dict(zip(("minimum", "maximum", "step"), choices))
        shared.opts.add_option(name, shared.OptionInfo(
            default=default, label=label, component=gr.Radio if listed else gr.Slider, component_args=arguments,
            section=("mixdiff", "mixdiff"), comment_after=f"<span class='info'>({comment})</span>"))


def on_cfg_denoiser(params):
    if (run := Run.of(params.denoiser.p)) is not None:
        run.step(params.denoiser, params.text_cond, params.sigma)


def on_cfg_denoised(params):
    step_done(params.inner_model, params.x)


script_callbacks.on_before_ui(add_axes)
script_callbacks.on_app_started(lambda demo, app: add_routes(app))
script_callbacks.on_before_image_saved(carry_in_file)
script_callbacks.on_infotext_pasted(pasted)
script_callbacks.on_ui_settings(on_ui_settings)
script_callbacks.on_cfg_denoiser(on_cfg_denoiser)
script_callbacks.on_cfg_denoised(on_cfg_denoised)
