"""What all modules share: settings, the state of the job and the loaded model."""
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from modules.errors import NotHere

FREE = dict(sd_model_checkpoint=None, comma_padding_backtrack=20, batch_cond_uncond=True, pad_cond_uncond=False)
FIXED = dict(CLIP_stop_at_last_layers=1, emphasis="Original", randn_source="CPU", use_old_scheduling=False)


OptionInfo = SimpleNamespace         # an extension's option, of which the default matters here


class Options(SimpleNamespace):
    """Settings as attributes, as in the WebUI: `opts.batch_cond_uncond`."""
    @property
    def data(self) -> dict[str, Any]:
        return vars(self)

    def add_option(self, key: str, info: Any) -> None:
        self.data.setdefault(key, info.default)

    def set(self, key: str, value: Any) -> None:
        """Sets one option. Unknown keys, and values that minihost cannot follow, are refused."""
        if key not in self.data or value != FIXED.get(key, value):
            known = f"the option {key!r} at {FIXED[key]!r} only, not at {value!r}" if key in FIXED else f"no option {key!r}"
            raise NotHere(f"minihost knows {known}: take it out of the request, or use the WebUI.")
        self.data[key] = value


class State:
    """What the job at hand is doing; `interrupt` is a wish that the sampling loop reads."""
    def begin(self, job: str = "(unknown)") -> None:
        self.job, self.job_no, self.job_count, self.sampling_step, self.sampling_steps, self.textinfo = job, 0, -1, 0, 0, None
        self.time_start, self.job_timestamp = time.time(), time.strftime("%Y%m%d%H%M%S")
        self.skipped, self.interrupted, self.stopping_generation, self.current_latent = False, False, False, None

    def end(self) -> None:
        self.job, self.job_count = "", 0

    def nextjob(self) -> None:
        self.job_no, self.sampling_step = self.job_no + 1, 0

    def interrupt(self) -> None:
        self.interrupted = True


opts = Options(**FREE, **FIXED)
state = State()
state.begin("")
state.end()
sd_model: Any = None            # minihost.diffusion.LatentDiffusion, set by modules.sd_models
cmd_opts = SimpleNamespace(api_auth=None)
data_path = str(Path(__file__).parents[2] / "out" / "webui")       # where extensions keep what users give them
