"""The host under test: at MIXDIFF_WEBUI_URL (a WebUI with this extension and tests/host/probe), else an embedded one."""
from __future__ import annotations

import os

import pytest

from minihost.client import ROOT, served
from tests.host.client import Host


@pytest.fixture(scope="session")
def host():
    if url := os.environ.get("MIXDIFF_WEBUI_URL"):
        yield Host(url)
    else:
        with served("--extension", str(ROOT), "--extension", str(ROOT / "tests" / "host" / "probe")) as host:
            yield Host(host.url)
