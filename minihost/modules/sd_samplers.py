"""All samplers by name."""
from __future__ import annotations

from modules import sd_samplers_kdiffusion, sd_samplers_timesteps
from modules.errors import NotHere
from modules.sd_samplers_common import Sampler, SamplerData

all_samplers = [*sd_samplers_kdiffusion.samplers_data_k_diffusion, *sd_samplers_timesteps.samplers_data_timesteps]
all_samplers_map = {sampler.name: sampler for sampler in all_samplers}


def find_sampler_config(name: str | None) -> SamplerData | None:
    return all_samplers[0] if name is None else all_samplers_map.get(name)


def create_sampler(name: str | None, model: object) -> Sampler:
    config = find_sampler_config(name)
    if config is None:
        raise NotHere(f"minihost has the samplers {' and '.join(all_samplers_map)}, not {name!r}.")
    return config.constructor(model)
