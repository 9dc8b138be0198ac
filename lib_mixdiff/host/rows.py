"""The rows seam: a module in the place of the denoiser's `model_wrap` that answers the host's rows with a mosaic."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from modules import sd_samplers_common, shared
from torch import Tensor, nn

from lib_mixdiff.conds import Cond
from lib_mixdiff.host.protocols import Denoiser
from lib_mixdiff.mosaic import Mosaic

DISPLACED = "another extension took the network's place away from mixdiff during sampling; disable one of the two"


class Rows(nn.Module):
    """Delegates all that it does not know to `inner`, the host's wrapper of the network (`sigmas` is read from it).

    `error`: what went wrong in a callback, where the host would only log it; raised at the next network call or the run's end.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.mosaic: Mosaic | None = None       # of this step
        self.error: Exception | None = None
        self.host_calls = 0                     # in this step
        self.pending = False                    # a step has begun, and its rows have not been summed yet
        self.span: tuple[float, float] | None = None        # of the host's count of steps that this call of its denoiser takes

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def start(self, mosaic: Mosaic, span: tuple[float, float] | None) -> None:
        """A step begins, whose rows `mosaic` answers."""
        self.must_be_done()
        self.host_calls, self.pending = 0, True
        self.mosaic, self.span = mosaic, span
        mosaic.start()

    def forward(self, x: Tensor, sigma: Tensor, cond: dict, **kwargs) -> Tensor:
        """x (rows, channels, h, w), sigma (rows,) or the timestep, and the host's cond dict, as its samplers call `inner`."""
        self.check()
        if (mosaic := self.mosaic) is None:
            raise RuntimeError(DISPLACED)
        self.host_calls += 1
        text, image_key, image = split(cond)

        def network(x: Tensor, sigma: Tensor, text: Cond, image: Tensor | None) -> Tensor:
            if shared.state.interrupted or shared.state.skipped:
                raise sd_samplers_common.InterruptedException
            return self.inner(x, sigma, cond=joined(text, image_key, image), **kwargs)

        steps = shared.state.sampling_step      # that have ended

        def progress(share: float) -> None:
            if self.span:
                shared.state.sampling_step = steps + self.span[0] + share * (self.span[1] - self.span[0])

        try:
            progress(0.0)
            return mosaic.predict(network, x, sigma, text, image, progress)
        except BaseException:
            self.pending = False                # this step has its own reason not to be done
            raise
        finally:
            shared.state.sampling_step = steps

    def finish(self, x: Tensor) -> None:
        """Writes the step's rows into x (conds + images, channels, h, w), where they are not there already."""
        self.pending = self.host_calls == 0
        if self.pending or self.mosaic is None:
            return
        if self.host_calls > 1 or not self.mosaic.whole:
            x.copy_(self.mosaic.rows())

    @contextmanager
    def keeping_errors(self) -> Iterator[None]:
        """For callbacks; the first error is kept."""
        try:
            yield
        except Exception as error:
            self.error = self.error or error

    def must_be_done(self) -> None:
        """RuntimeError if a step's rows came from elsewhere, or were summed unfinished: never a picture without the regions."""
        if self.pending:
            raise RuntimeError(DISPLACED)

    def check(self) -> None:
        if self.error is not None:
            raise self.error


@contextmanager
def answering(denoiser: Denoiser) -> Iterator[Rows]:
    """The denoiser's network is a mosaic inside the block; at its end a callback's error is raised."""
    rows = Rows(denoiser.inner_model)
    denoiser.model_wrap = rows
    try:
        yield rows
        rows.check()
        rows.must_be_done()
    finally:
        if denoiser.model_wrap is rows:
            denoiser.model_wrap = rows.inner


def split(cond: dict) -> tuple[Cond, str | None, Tensor | None]:
    """The host's cond dict: text, the image condition's key (`c_concat` or `c_adm`), and that condition."""
    image_key = next((key for key in ("c_concat", "c_adm") if key in cond), None)
    image = cond[image_key] if image_key else None
    if isinstance(image, list):
        image = image[0]
    if "c_crossattn" in cond:
        return cond["c_crossattn"][0], image_key, image
    return {key: value for key, value in cond.items() if key != image_key}, image_key, image


def joined(text: Cond, image_key: str | None, image: Tensor | None) -> dict:
    """The inverse of `split`."""
    whole: dict = dict(text) if isinstance(text, dict) else {"c_crossattn": [text]}
    if image_key is not None:
        whole[image_key] = [image] if image_key == "c_concat" else image
    return whole
