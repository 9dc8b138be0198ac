"""Always-on scripts: the class that they derive from, and the runner that calls their hooks."""
from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Sequence
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
from modules import errors, paths, script_callbacks

AlwaysVisible = object()
HOOKS = ("setup", "before_process", "process", "before_process_batch", "after_extra_networks_activate", "process_batch",
         "process_before_every_sampling", "post_sample", "postprocess_batch", "postprocess_batch_list", "postprocess_image",
         "postprocess_image_after_composite", "postprocess")
scripts_data: list[tuple[type[Script], str]] = []         # classes, and the files that they come from
current_basedir = paths.script_path


class PostSampleArgs(SimpleNamespace):
    def __init__(self, samples: Any) -> None:
        super().__init__(samples=samples)


class PostprocessImageArgs(SimpleNamespace):
    def __init__(self, image: Any) -> None:
        super().__init__(image=image)


class PostprocessBatchListArgs(SimpleNamespace):
    def __init__(self, images: list) -> None:
        super().__init__(images=images)


class Script:
    """One object per tab. `args` of the hooks are the values of the components that `ui` returned."""

    name = section = filename = tabname = group = infotext_fields = paste_field_names = api_info = controls = None
    alwayson = is_txt2img = is_img2img = setup_for_ui_only = False
    create_group, args_from, args_to = True, None, None

    def title(self) -> str:
        raise NotImplementedError

    def show(self, is_img2img: bool) -> Any:
        return True

    def ui(self, is_img2img: bool) -> list | None: ...
    def run(self, p, *args): ...
    def setup(self, p, *args): ...
    def before_process(self, p, *args): ...
    def process(self, p, *args): ...
    def before_process_batch(self, p, *args, **kwargs): ...
    def after_extra_networks_activate(self, p, *args, **kwargs): ...
    def process_batch(self, p, *args, **kwargs): ...
    def process_before_every_sampling(self, p, *args, **kwargs): ...
    def post_sample(self, p, ps: PostSampleArgs, *args): ...
    def postprocess_batch(self, p, *args, **kwargs): ...
    def postprocess_batch_list(self, p, pp: PostprocessBatchListArgs, *args, **kwargs): ...
    def postprocess_image(self, p, pp: PostprocessImageArgs, *args): ...
    def postprocess_image_after_composite(self, p, pp: PostprocessImageArgs, *args): ...
    def postprocess(self, p, processed, *args): ...

    def elem_id(self, item_id: str) -> str:
        tab = f"{self.tabname}_" if self.show(True) == self.show(False) else ""
        title = re.sub(r"[^a-z0-9_]", "", re.sub(r"\s", "_", self.title().lower()))
        return f"script_{tab}{title}_{item_id}"


def basedir() -> str:
    """The folder of the extension whose script is being loaded."""
    return current_basedir


def load_scripts(extensions: Sequence[Path]) -> None:
    """Executes each extension's scripts/*.py with its folder first in the search path; a broken script is reported."""
    global current_basedir, scripts_txt2img, scripts_img2img
    script_callbacks.clear_callbacks()
    scripts_data.clear()
    for file in (file for extension in extensions for file in sorted((extension / "scripts").glob("*.py"))):
        search_path, current_basedir = list(sys.path), str(file.parent.parent)
        try:
            sys.path.insert(0, current_basedir)
            spec = importlib.util.spec_from_file_location(file.name, file)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            scripts_data.extend((value, str(file)) for value in vars(module).values()
                                if inspect.isclass(value) and issubclass(value, Script) and value is not Script)
        except Exception:
            errors.report(f"Error loading script: {file.name}", exc_info=True)
        finally:
            sys.path[:], current_basedir = search_path, paths.script_path
    scripts_txt2img, scripts_img2img = ScriptRunner(), ScriptRunner()


class ScriptRunner:
    """The scripts of one tab. `inputs` are the controls of all, the first place being the WebUI's choice of a script.

    It has a method for every hook: each script that overrides it is called with its own arguments, and an exception is reported.
    """

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.alwayson_scripts = self.scripts                # minihost runs always-on scripts only
        self.selectable_scripts: list[Script] = []
        self.inputs: list = [None]
        self.default_values: list = [0]

    def initialize_scripts(self, is_img2img: bool) -> None:
        for script_class, file in scripts_data:
            try:
                script = script_class()
                script.filename, script.is_img2img, script.is_txt2img = file, is_img2img, not is_img2img
                script.tabname = "img2img" if is_img2img else "txt2img"
                script.alwayson = script.show(is_img2img) is AlwaysVisible
                self.scripts += [script] if script.alwayson else []
            except Exception:
                errors.report(f"Error: could not initialize the script {file}", exc_info=True)

    def setup_ui(self) -> list:
        for script in self.scripts:
            script.args_from = script.args_to = len(self.inputs)
            try:
                with gr.Group() as script.group:
                    script.controls = script.ui(script.is_img2img)
                if script.controls is not None:
                    script.name = script.title().lower()
                    script.api_info = dict(name=script.name, is_alwayson=True, is_img2img=script.is_img2img,
                                           args=[_argument(control) for control in script.controls])
                    self.inputs += script.controls
                    script.args_to = len(self.inputs)
            except Exception:
                errors.report(f"Error creating UI for {script.filename}", exc_info=True)
        return self.inputs

    def set_defaults(self) -> None:
        """The values of arguments that a request leaves out. As in the WebUI, this calls `ui` twice more."""
        self.default_values = [0] + [None] * (len(self.inputs) - 1)
        with gr.Blocks():
            for script in self.scripts:
                if script.ui(script.is_img2img):
                    values = [control.value for control in script.ui(script.is_img2img)]
                    self.default_values[script.args_from:script.args_to] = values

    def _call(self, p: Any, *first: Any, hook: str, **kwargs: Any) -> None:
        for script in self.scripts:
            if getattr(type(script), hook) is not getattr(Script, hook):
                try:
                    getattr(script, hook)(p, *first, *p.script_args[script.args_from:script.args_to], **kwargs)
                except Exception:
                    errors.report(f"Error running {hook}: {script.filename}", exc_info=True)


def _argument(control: Any) -> dict[str, Any]:
    """A control as /sdapi/v1/script-info describes it."""
    choices = [choice[0] if isinstance(choice, tuple) else choice for choice in getattr(control, "choices", None) or []]
    return dict(label=control.label or "", choices=choices or None,
                **{name: getattr(control, name, None) for name in ("value", "minimum", "maximum", "step")})


for _hook in HOOKS:
    setattr(ScriptRunner, _hook, partialmethod(ScriptRunner._call, hook=_hook))
scripts_txt2img = scripts_img2img = ScriptRunner()
