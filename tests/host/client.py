"""A host with the probe extension of these tests."""
from __future__ import annotations

import base64

import numpy as np

from minihost import client

JOB = {"prompt": "a red circle on a gray background", "seed": 11, "steps": 3, "cfg_scale": 5, "width": 64, "height": 64,
       "sampler_name": "Euler", "scheduler": "Automatic"}


class Host(client.Host):
    def run(self, route: str, plan: object = None, probe: dict | None = None, **fields) -> client.Answer:
        """A small job; with `probe` its latents, hooks and calls are recorded."""
        scripts = {} if probe is None else {"mixdiff-probe": {"args": [probe]}}
        return super().run(route, plan, **{**JOB, **fields, "alwayson_scripts": scripts})

    def latents(self) -> np.ndarray:
        """Final latents of the last job with a probe, (images, channels, height, width) float32."""
        return np.concatenate([np.frombuffer(base64.b64decode(t["data"]), np.float32).reshape(t["shape"])
                               for t in self.get("/mixdiff-probe/last")["latents"]])

    def calls(self) -> list[list[int]]:
        """Shapes of x in the network calls of the last job with a probe."""
        return [call["x"] for call in self.trace()["calls"]]

    def trace(self) -> dict:
        """The last job with a probe: `hooks`, their names in order, and `calls` of the network, each with `x` (its shape), `sigma`
        (the timestep, with DDIM), `tokens` and `step`, how far the progress bar is."""
        return {key: value for key, value in self.get("/mixdiff-probe/last").items() if key != "latents"}

    def state(self) -> dict:
        return self.get("/mixdiff-probe/state")

def lasting(state: dict) -> dict:
    """Without what belongs to the last job only."""
    return {key: value for key, value in state.items() if key not in ("job", "run")}
