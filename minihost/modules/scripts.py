"""Always-on scripts: the class that they derive from, and the runner that calls their hooks."""
from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Sequence
from functools import partialmethod
from pathlib import Path
from typing import Any

import gradio as gr
from modules import errors, script_callbacks

AlwaysVisible = object()
HOOKS = ("setup", "before_process", "process", "before_process_batch", "after_extra_networks_activate", "process_batch",
         "process_before_every_sampling", "post_sample", "postprocess_batch", "postprocess_batch_list", "postprocess_image",
         "postprocess")
scripts_data: list[tuple[type[Script], str]] = []         # classes, and the files that they come from


class Script:
    """One object per tab. Any of HOOKS may be a method; its last positional arguments are the values of what `ui` returned."""

    name = filename = tabname = infotext_fields = paste_field_names = api_info = None
    is_txt2img = is_img2img = False
    args_from = args_to = 0

    def title(self) -> str:
        raise NotImplementedError

    def show(self, is_img2img: bool) -> Any:
        return True

    def ui(self, is_img2img: bool) -> list | None: ...
    def process(self, p, *args): ...
    def process_batch(self, p, *args, **kwargs): ...
    def process_before_every_sampling(self, p, *args, **kwargs): ...

    def elem_id(self, item_id: str) -> str:
        tab = f"{self.tabname}_" if self.show(True) == self.show(False) else ""
        title = re.sub(r"[^a-z0-9_]", "", re.sub(r"\s", "_", self.title().lower()))
        return f"script_{tab}{title}_{item_id}"


def load_scripts(extensions: Sequence[Path]) -> None:
    """Executes each extension's scripts/*.py with its folder first in the search path; a broken script is reported."""
    global scripts_txt2img, scripts_img2img
    script_callbacks.clear_callbacks()
    scripts_data.clear()
    for file in (file for extension in extensions for file in sorted((extension / "scripts").glob("*.py"))):
        search_path = list(sys.path)
        try:
            sys.path.insert(0, str(file.parent.parent))
            spec = importlib.util.spec_from_file_location(file.name, file)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            scripts_data.extend((value, str(file)) for value in vars(module).values()
                                if inspect.isclass(value) and issubclass(value, Script) and value is not Script)
        except Exception:
            errors.report(f"Error loading script: {file.name}", exc_info=True)
        finally:
            sys.path[:] = search_path
    scripts_txt2img, scripts_img2img = ScriptRunner(False), ScriptRunner(True)


class ScriptRunner:
    """The always-on scripts of one tab. `inputs` are the controls of all, the first place being the WebUI's choice of a script.

    It has a method for every hook: each script that has it is called with its own arguments, and an exception is reported.
    """

    def __init__(self, is_img2img: bool) -> None:
        self.scripts: list[Script] = []
        self.inputs: list = [None]
        self.default_values: list = [0]
        for script_class, file in scripts_data:
            try:
                script = script_class()
                script.filename, script.is_img2img, script.is_txt2img = file, is_img2img, not is_img2img
                script.tabname = "img2img" if is_img2img else "txt2img"
                if script.show(is_img2img) is AlwaysVisible:
                    self.scripts.append(script)
            except Exception:
                errors.report(f"Error: could not initialize the script {file}", exc_info=True)

    def setup_ui(self) -> list:
        for script in self.scripts:
            script.args_from = script.args_to = len(self.inputs)
            try:
                with gr.Group():
                    controls = script.ui(script.is_img2img)
            except Exception:
                errors.report(f"Error creating UI for {script.filename}", exc_info=True)
                continue
            if controls is not None:
                script.name = script.title().lower()
                args = []
                for control in controls:
                    choices = [choice[0] if isinstance(choice, tuple) else choice for choice in getattr(control, "choices", None) or []]
                    limits = {name: getattr(control, name, None) for name in ("value", "minimum", "maximum", "step")}
                    args.append(dict(label=control.label or "", choices=choices or None, **limits))
                script.api_info = dict(name=script.name, is_alwayson=True, is_img2img=script.is_img2img, args=args)
                self.inputs += controls
                self.default_values += [control.value for control in controls]
                script.args_to = len(self.inputs)
        return self.inputs

    def _call(self, p: Any, *first: Any, hook: str, **kwargs: Any) -> None:
        for script in self.scripts:
            if method := getattr(script, hook, None):
                try:
                    method(p, *first, *p.script_args[script.args_from:script.args_to], **kwargs)
                except Exception:
                    errors.report(f"Error running {hook}: {script.filename}", exc_info=True)


for _hook in HOOKS:
    setattr(ScriptRunner, _hook, partialmethod(ScriptRunner._call, hook=_hook))
scripts_txt2img = scripts_img2img = ScriptRunner(False)
