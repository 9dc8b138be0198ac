"""Callbacks that extensions register. An exception in one is reported, and the others still run."""
import sys
from collections import namedtuple
from collections.abc import Callable
from typing import Any

from modules import errors
from torch import Tensor

ScriptCallback = namedtuple("ScriptCallback", ["script", "callback"])
callback_map: dict[str, list[ScriptCallback]] = {}


class CFGDenoiserParams:
    """Before the network: all rows (every cond of image 0, of image 1, ..., then the unconds)."""
    def __init__(self, x: Tensor, image_cond: Tensor, sigma: Tensor, sampling_step: int, total_sampling_steps: int,
                 text_cond: Tensor, text_uncond: Tensor, denoiser: Any = None) -> None:
        self.x, self.image_cond, self.sigma, self.text_cond, self.text_uncond = x, image_cond, sigma, text_cond, text_uncond
        self.sampling_step, self.total_sampling_steps, self.denoiser = sampling_step, total_sampling_steps, denoiser


class CFGDenoisedParams:
    """Behind the network, before guidance: the same rows."""
    def __init__(self, x: Tensor, sampling_step: int, total_sampling_steps: int, inner_model: Any) -> None:
        self.x, self.inner_model = x, inner_model
        self.sampling_step, self.total_sampling_steps = sampling_step, total_sampling_steps


def _kind(category: str) -> tuple[Callable, Callable]:
    """The function that registers a callback of this category, and the one that calls them all."""
    registered = callback_map.setdefault(f"callbacks_{category}", [])

    def on(callback: Callable, *, name: str | None = None) -> None:
        registered.append(ScriptCallback(sys._getframe(1).f_code.co_filename, callback))

    def call(*args: Any) -> None:
        for c in list(registered):
            with errors.reported(f"Error executing callback {category} for {c.script}"):
                c.callback(*args)

    return on, call


on_app_started, app_started_callback = _kind("app_started")                    # (demo, FastAPI app)
on_ui_settings, ui_settings_callback = _kind("ui_settings")                    # extensions add their options
on_ui_tabs, on_before_ui = _kind("ui_tabs")[0], _kind("before_ui")[0]           # the first return [(blocks, title, name)] for the page
on_cfg_denoiser, cfg_denoiser_callback = _kind("cfg_denoiser")
on_cfg_denoised, cfg_denoised_callback = _kind("cfg_denoised")
on_cfg_after_cfg, cfg_after_cfg_callback = _kind("cfg_after_cfg")
on_before_image_saved, before_image_saved_callback = _kind("before_image_saved")    # never called: minihost saves no files
on_infotext_pasted, infotext_pasted_callback = _kind("infotext_pasted")             # (infotext, its parameters, which may be changed)
