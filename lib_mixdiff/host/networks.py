"""What the models of a plan make of the loaded networks: other weights, ensembles, LoRAs."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from modules import shared

from lib_mixdiff.conds import beside
from lib_mixdiff.ensemble import Ensemble, as_it_is, blocks_of, embeddings_of
from lib_mixdiff.errors import inside, within
from lib_mixdiff.experts import Name, Pair, pairs
from lib_mixdiff.host.checkpoints import Checkpoints
from lib_mixdiff.host.lora import Calls, Loras
from lib_mixdiff.host.protocols import Job
from lib_mixdiff.leads import Leads
from lib_mixdiff.models import Aggregation
from lib_mixdiff.models import Model as Named
from lib_mixdiff.mosaic import Model, Part, Rivals, Told
from lib_mixdiff.parts import of_model
from lib_mixdiff.saliency import Saliency
from lib_mixdiff.weights import WeightSet

T = TypeVar("T")


class Networks:
    """Of one pass. The same is made for the same, so that calls are grouped by it."""

    def __init__(self, p: Job, loras: Loras | None = None, leads: Leads | None = None) -> None:
        """`leads` is shown which model leads where."""
        self.checkpoints, self.loras, self.leads = Checkpoints.of(p), loras or Loras(p), leads
        self.saliency = Saliency()
        self.made: dict[tuple[Calls, Aggregation], Ensemble] = {}

    def read(self, model: Named) -> None:
        """All that it may need; PlanError where something does not fit the loaded checkpoint."""
        for path, pair in pairs(model):
            with within(path):
                self.unet((), pair.unet), self.texts((), pair.text)

    def unet(self, calls: Calls, name: Name) -> Model | tuple[Model | None, ...] | None:
        """None: as it is loaded; several: rivals."""
        if not isinstance(name, Aggregation):
            return self.loras.unet(calls, self.checkpoints.unet(name))
        if name.mode == "merge":
            return self.loras.unet(calls, self.checkpoints.mean(name.models, text=False))
        if name.mode == "saliency":
            return tuple(self.loras.unet(calls, weights) for weights in self._each(name, self.checkpoints.unet))
        if (calls, name) not in self.made:
            self.made[calls, name] = self._ensemble(calls, name)
        return self.made[calls, name]

    def texts(self, calls: Calls, name: Name) -> tuple[Model | None, ...]:
        """Text encoders, that of each model of an ensemble."""
        if not isinstance(name, Aggregation):
            return (self.loras.text(calls, self.checkpoints.text(name)),)
        if name.mode == "merge":
            return (self.loras.text(calls, self.checkpoints.mean(name.models, text=True)),)
        return tuple(self.loras.text(calls, weights) for weights in self._each(name, self.checkpoints.text))

    def told(self, voices: Sequence[Told], calls: Calls, name: Name) -> Told | Rivals:
        """What an ensemble's models say, one voice each, as one member's; of other models there is one voice."""
        model = self.unet(calls, name)
        if isinstance(model, tuple):
            return Rivals(tuple(voice._replace(model=each) for voice, each in zip(voices, model)), self.saliency)
        return (voices[0] if len(voices) == 1 else together(voices))._replace(model=model)

    def expect(self, rounds: Iterable[Iterable[Pair]]) -> None:
        """Whose U-Nets will be wanted, in this call of the host's and in later ones."""
        order = [each for pairs in rounds for pair in pairs for each in self._sets(pair.unet)]
        for residency in {id(each.residency): each.residency for each in order}.values():
            if residency is not None:
                residency.expect([each for each in order if each.residency is residency])

    def _sets(self, name: Name) -> list[WeightSet]:
        """In the order in which a call uses them."""
        if not isinstance(name, Aggregation):
            found = [self.checkpoints.unet(name)]
        elif name.mode == "merge":
            found = [self.checkpoints.mean(name.models, text=False)]
        elif name.mode == "saliency":
            found = [self.checkpoints.unet(model) for model in name.models]
        else:
            network = shared.sd_model.model.diffusion_model
            several = [parts.sets for model in name.models if (parts := self.checkpoints.parts(model))]
            found = [sets[part] for part in [*embeddings_of(network), *blocks_of(network)] for sets in several]
        return [each for each in found if each is not None]

    def _ensemble(self, calls: Calls, name: Aggregation) -> Ensemble:
        network = shared.sd_model.model.diffusion_model
        each = self._each(name, self.checkpoints.parts)
        around = self.checkpoints.around(name.models, each)
        aggregators, order = self.checkpoints.aggregators(name) if name.trained else (None, range(len(each)))
        models = [self.loras.unet(calls, parts) for parts in each]
        found = Ensemble(network, [as_it_is if model is None else of_model(model) for model in models], aggregators, order,
                         name.mode in ("full", "blocks"), around)
        if self.leads is not None and aggregators is not None:
            found.seen = self.leads.watching([self.checkpoints.info(model).model_name for model in name.models], order, [*aggregators.at])
        return found

    @staticmethod
    def _each(name: Aggregation, of: Callable[[str], T]) -> list[T]:
        found = []
        for index, model in enumerate(name.models):
            with inside("models"), inside(index):
                found.append(of(model))
        return found


def together(voices: Sequence[Told]) -> Told:
    """An ensemble's, whose models say the same words; what is painted of them is the same."""
    first = voices[0]
    parts = first.parts and tuple(Part(several[0].weight, beside([each.text for each in several]), several[0].words)
                                  for several in zip(*(voice.parts for voice in voices)))
    uncond = None if first.uncond is None else beside([voice.uncond for voice in voices])
    return Told(parts, uncond, first.rows and [beside(list(several)) for several in zip(*(voice.rows for voice in voices))], first.words)
