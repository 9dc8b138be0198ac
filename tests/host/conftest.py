"""The host under test: MIXDIFF_WEBUI_URL, a WebUI with this extension and tests/host/probe in its extensions/, or an embedded one."""
from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.host.client import Host

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    if url := os.environ.get("MIXDIFF_WEBUI_URL"):
        yield Host(url.rstrip("/"))
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("host") / "server.log"
    command = [sys.executable, "-m", "minihost", "--port", str(port), "--extension", str(ROOT), "--extension", str(ROOT / "tests/host/probe")]
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                requests.get(url + "/sdapi/v1/options", timeout=5).raise_for_status()
                break
            except requests.RequestException:
                time.sleep(0.1)
        yield Host(url)
    finally:
        server.terminate()
        server.wait(30)
