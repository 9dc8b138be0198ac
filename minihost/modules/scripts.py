"""Always-on scripts: the class that they derive from, and the runner that calls their hooks."""
import inspect
import re
import runpy
import sys
from collections.abc import Sequence
from functools import partialmethod
from pathlib import Path
from typing import Any

import gradio as gr
from modules import errors, script_callbacks

AlwaysVisible = object()
HOOKS = ("setup", "before_process", "process", "before_process_batch", "after_extra_networks_activate", "process_batch",
         "process_before_every_sampling", "before_hr", "on_mask_blend", "post_sample", "postprocess_batch", "postprocess_batch_list",
         "postprocess_image", "postprocess_maskoverlay", "postprocess_image_after_composite", "postprocess")
scripts_data: list[tuple[type, str]] = []         # classes, and the files that they come from


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
    def postprocess(self, p, processed, *args): ...

    def elem_id(self, item_id: str) -> str:
        tab = f"{self.tabname}_" if self.show(True) == self.show(False) else ""
        title = re.sub(r"[^a-z0-9_]", "", re.sub(r"\s", "_", self.title().lower()))
        return f"script_{tab}{title}_{item_id}"


def load_scripts(extensions: Sequence[Path]) -> None:
    """Executes each extension's scripts/*.py with its folder first in the search path; a broken script is reported."""
    global scripts_txt2img, scripts_img2img
    for registered in script_callbacks.callback_map.values():
        registered.clear()
    scripts_data.clear()
    for file in (file for extension in extensions for file in sorted((extension / "scripts").glob("*.py"))):
        search_path = list(sys.path)
        with errors.reported(f"Error loading script: {file.name}"):
            sys.path.insert(0, str(file.parent.parent))
            scripts_data.extend((value, str(file)) for value in runpy.run_path(str(file), run_name=file.name).values()
                                if inspect.isclass(value) and issubclass(value, Script) and value is not Script)
        sys.path[:] = search_path
    scripts_txt2img, scripts_img2img = ScriptRunner(False), ScriptRunner(True)


class ScriptRunner:
    """The always-on scripts of one tab. `inputs` are the controls of all, the first place being the WebUI's choice of a script.

    It has a method for every hook: each script that has it is called with its own arguments, and an exception is reported.
    """

    def __init__(self, is_img2img: bool) -> None:
        self.scripts: list[Script] = []
        self.inputs: list = [None]
        for script_class, file in scripts_data:
            with errors.reported(f"Error: could not initialize the script {file}"):
                script = script_class()
                script.filename, script.is_img2img, script.is_txt2img = file, is_img2img, not is_img2img
                script.tabname = "img2img" if is_img2img else "txt2img"
                if script.show(is_img2img) is AlwaysVisible:
                    self.scripts.append(script)

    def setup_ui(self) -> list:
        for script in self.scripts:
            script.args_from = script.args_to = len(self.inputs)
            with errors.reported(f"Error creating UI for {script.filename}"), gr.Group():
                controls = script.ui(script.is_img2img) or []
                script.name = script.title().lower()
                script.api_info = dict(name=script.name, is_alwayson=True, is_img2img=script.is_img2img, args=[
                    dict(label=c.label or "", choices=getattr(c, "choices", None),
                         **{name: getattr(c, name, None) for name in ("value", "minimum", "maximum", "step")}) for c in controls])
                self.inputs += controls
                script.args_to = len(self.inputs)
        return self.inputs

    def _call(self, p: Any, *first: Any, hook: str, **kwargs: Any) -> None:
        for script in self.scripts:
            if method := getattr(script, hook, None):
                with errors.reported(f"Error running {hook}: {script.filename}"):
                    method(p, *first, *p.script_args[script.args_from:script.args_to], **kwargs)


for _hook in HOOKS:
    setattr(ScriptRunner, _hook, partialmethod(ScriptRunner._call, hook=_hook))
scripts_txt2img = scripts_img2img = ScriptRunner(False)
