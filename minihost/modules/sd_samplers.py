"""All samplers by name."""
from functools import partial

from modules.errors import NotHere
from modules.sd_samplers_common import Sampler, SamplerData
from modules.sd_samplers_kdiffusion import KDiffusionSampler, sample_dpmpp_2m, sample_euler_ancestral
from modules.sd_samplers_timesteps import CompVisSampler, ddim

all_samplers = [
    SamplerData("Euler", partial(KDiffusionSampler, partial(sample_euler_ancestral, eta=0.0)), ["k_euler"], {}),
    SamplerData("Euler a", partial(KDiffusionSampler, sample_euler_ancestral), ["k_euler_a", "k_euler_ancestral"], {}),
    SamplerData("DPM++ 2M", partial(KDiffusionSampler, sample_dpmpp_2m), ["k_dpmpp_2m"], {"scheduler": "karras"}),
    SamplerData("DDIM", partial(CompVisSampler, ddim), ["ddim"], {})]
all_samplers_map = {sampler.name: sampler for sampler in all_samplers}


def find_sampler_config(name: str | None) -> SamplerData | None:
    return all_samplers[0] if name is None else all_samplers_map.get(name)


def create_sampler(name: str | None, model: object) -> Sampler:
    if (config := find_sampler_config(name)) is None:
        raise NotHere(f"minihost has the samplers {', '.join(all_samplers_map)}, not {name!r}.")
    sampler = config.constructor(model)
    sampler.config = config
    return sampler
