"""A host over HTTP, the embedded one or a genuine WebUI, as a program sees it."""
from __future__ import annotations

import base64
import io
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests
from PIL import Image

ROOT = Path(__file__).parent.parent


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


def encoded(picture: np.ndarray) -> str:
    """A picture (height, width, 3) uint8 as a request or a plan holds it: base64 of a PNG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


class Host:
    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def get(self, path: str) -> dict:
        answer = requests.get(self.url + path, timeout=600)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: dict) -> dict:
        answer = requests.post(self.url + path, json=body, timeout=600)
        answer.raise_for_status()
        return answer.json()

    def txt2img(self, plan: object = None, **fields) -> Answer:
        return self.run("txt2img", plan, **fields)

    def img2img(self, plan: object = None, **fields) -> Answer:
        return self.run("img2img", plan, **fields)

    def run(self, route: str, plan: object = None, **fields) -> Answer:
        """`plan` goes into mixdiff's arguments where it is not None; a list stands for all of them."""
        scripts = dict(fields.pop("alwayson_scripts", {}))
        if plan is not None:
            scripts["mixdiff"] = {"args": plan if isinstance(plan, list) else [plan]}
        answer = requests.post(f"{self.url}/sdapi/v1/{route}", json={**fields, "alwayson_scripts": scripts}, timeout=600)
        return Answer(answer.status_code, answer.json())


@contextmanager
def served(*arguments: str) -> Iterator[Host]:
    """An embedded host with this extension for the length of the block, on a free port; RuntimeError with its log if it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "minihost", "--port", str(port), *arguments]
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            yield _answering(f"http://127.0.0.1:{port}", server, log)
        finally:
            server.terminate()
            server.wait(30)


def _answering(url: str, server: subprocess.Popen, log) -> Host:
    for _ in range(1200):
        if server.poll() is not None:
            break
        try:
            requests.get(url + "/sdapi/v1/options", timeout=5).raise_for_status()
            return Host(url)
        except requests.RequestException:
            time.sleep(0.1)
    log.seek(0)
    raise RuntimeError(f"the embedded host did not start:\n{log.read()}")
