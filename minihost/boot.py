"""Starts the embedded host in this process: afterwards `import modules...` finds minihost's."""
from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Host:
    """`app` answers HTTP (with `fastapi.testclient.TestClient` too); `page` is its gradio page."""

    app: FastAPI
    page: Any


def boot(checkpoint: str | None = None, models: Path | str | None = None, extensions: Sequence[Path | str] = (HERE.parent,),
         webui: bool = True) -> Host:
    """Loads a checkpoint, by its name in the folder `models` (the shapes checkpoints where that is None), and extensions' scripts.

    The whole process has one host: booting again replaces it. FileNotFoundError where there is no such checkpoint.
    """
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    sys.path += [folder for folder in (str(HERE.parent), str(HERE)) if folder not in sys.path]
    import gradio as gr
    import transformers
    with contextlib.redirect_stdout(io.StringIO()):         # it says that it has no xformers
        import ldm.modules.diffusionmodules.model
        import ldm.modules.diffusionmodules.openaimodel  # noqa: F401

    from modules import paths, script_callbacks, scripts, sd_models, shared

    from minihost.models import assembled

    transformers.logging.set_verbosity_error()
    paths.models_path = str(models or assembled())
    scripts.load_scripts([Path(extension).resolve() for extension in extensions])
    script_callbacks.ui_settings_callback()
    sd_models.list_models()
    found = sd_models.get_closet_checkpoint_match(checkpoint)
    if checkpoint and found is None:
        raise FileNotFoundError(f"no checkpoint {checkpoint!r} with a yaml beside it in {paths.models_path}; there is: "
                                f"{', '.join(sd_models.checkpoints_list) or 'none'}")
    shared.opts.sd_model_checkpoint = (found or sd_models.select_checkpoint()).title
    sd_models.reload_model_weights()

    from minihost import api, page
    scripts.scripts_txt2img.initialize_scripts(is_img2img=False)
    scripts.scripts_img2img.initialize_scripts(is_img2img=True)
    shared.demo = page.create_ui()
    with gr.Blocks():
        scripts.scripts_img2img.setup_ui()
    for runner in (scripts.scripts_txt2img, scripts.scripts_img2img):
        runner.set_defaults()
    app = api.create_app()
    script_callbacks.app_started_callback(shared.demo if webui else None, app)      # may add routes: the page takes the rest
    if webui:
        page.mount(app, shared.demo)
    return Host(app, shared.demo)
