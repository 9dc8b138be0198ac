"""Starts the embedded host in this process: afterwards `import modules...` finds minihost's."""
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI

HERE = Path(__file__).resolve().parent


def boot(checkpoint: str | None = None, models: Path | str | None = None, extensions: Sequence[Path | str] = (HERE.parent,)) -> FastAPI:
    """Loads a checkpoint, by its name in the folder `models` (the shapes checkpoints where that is None), and extensions' scripts.
    The whole process has one host: booting again replaces it. FileNotFoundError where there is no such checkpoint."""
    for name, value in dict(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", GRADIO_ANALYTICS_ENABLED="False").items():
        os.environ.setdefault(name, value)
    sys.path += [folder for folder in (str(HERE.parent), str(HERE)) if folder not in sys.path]
    import transformers
    with contextlib.redirect_stdout(io.StringIO()):         # ldm says that it has no xformers
        from modules import script_callbacks, scripts, sd_models, shared

        from minihost import api, page
    from minihost.models import assembled
    transformers.logging.set_verbosity_error()
    scripts.load_scripts(folders := [Path(extension).resolve() for extension in extensions])
    script_callbacks.ui_settings_callback()
    shared.models_path = str(folder := Path(models or assembled()))
    sd_models.list_models()
    found = sd_models.checkpoint_aliases.get(checkpoint) if checkpoint else next(iter(sd_models.checkpoints_list.values()), None)
    if found is None:
        raise FileNotFoundError(f"no checkpoint {checkpoint or 'NAME'}.safetensors with a yaml beside it in {folder}; there is: "
                                f"{', '.join(sd_models.checkpoints_list) or 'none'}")
    shared.opts.sd_model_checkpoint = found.title
    sd_models.reload_model_weights()
    demo = page.create_ui()
    app = api.create_app()
    script_callbacks.app_started_callback(demo, app)            # may add routes: the page takes the rest
    page.mount(app, demo, folders)
    return app
