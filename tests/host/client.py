"""A host over HTTP: the embedded one or a genuine WebUI."""
from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass

import numpy as np
import requests
from PIL import Image


@dataclass
class Answer:
    status: int
    body: dict

    @property
    def error(self) -> str:
        """The sentence that the user gets."""
        return self.body.get("errors") or str(self.body.get("detail") or "")

    @property
    def info(self) -> dict:
        return json.loads(self.body["info"])

    @property
    def pictures(self) -> list[np.ndarray]:
        """(height, width, 3) uint8 each; the grid, where a host puts one first, left out."""
        pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(image))).convert("RGB")) for image in self.body["images"]]
        return pictures[self.info["index_of_first_image"]:]


class Host:
    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> dict:
        answer = requests.get(self.url + path, timeout=600)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: dict) -> dict:
        answer = requests.post(self.url + path, json=body, timeout=600)
        answer.raise_for_status()
        return answer.json()

    def txt2img(self, plan: object = None, probe: dict | None = None, **fields) -> Answer:
        """A small job, with `plan` in mixdiff's arguments (a list stands for all of them) where it is not None."""
        job = {"prompt": "a red circle on a gray background", "seed": 11, "steps": 3, "cfg_scale": 5, "width": 128, "height": 128,
               "sampler_name": "Euler", "scheduler": "Automatic", **fields}
        scripts = {} if plan is None else {"mixdiff": {"args": plan if isinstance(plan, list) else [plan]}}
        if probe is not None:
            scripts["mixdiff-probe"] = {"args": [probe]}
        answer = requests.post(self.url + "/sdapi/v1/txt2img", json={**job, "alwayson_scripts": scripts}, timeout=600)
        return Answer(answer.status_code, answer.json())

    def latents(self) -> np.ndarray:
        """Final latents of the last job with a probe, (images, channels, height, width) float32."""
        return np.concatenate([np.frombuffer(base64.b64decode(t["data"]), np.float32).reshape(t["shape"])
                               for t in self.get("/mixdiff-probe/last")["latents"]])

    def calls(self) -> list[list[int]]:
        """Shapes of x in the network calls of the last job with a probe."""
        return self.get("/mixdiff-probe/last")["calls"]

    def state(self) -> dict:
        return self.get("/mixdiff-probe/state")
