"""What several files of tests need: the host under test, Chromium beside it, and networks that learn nothing."""
from __future__ import annotations

import os

import pytest
import torch

from bench.browser import CHROMIUM, browsing
from minihost.client import ROOT, served
from tests.host.client import Host

# files whose tests are few and long: a worker that gets one at the end keeps the other waiting
LONG = ("test_train.py", "test_training.py", "test_page_training.py", "test_page_models.py", "test_presets.py", "test_first_use.py", "test_vae.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture
def no_gradients():
    """And the same random numbers for each test."""
    torch.manual_seed(1)
    with torch.no_grad():
        yield


@pytest.fixture(scope="session")
def host():
    """At MIXDIFF_WEBUI_URL (a WebUI with this extension and tests/host/probe), else an embedded one."""
    if url := os.environ.get("MIXDIFF_WEBUI_URL"):
        yield Host(url)
    else:
        with served("--extension", str(ROOT), "--extension", str(ROOT / "tests" / "host" / "probe")) as host:
            yield Host(host.url)


@pytest.fixture(scope="module")
def browser(chromium):
    """A playwright Browser without pages; its `host` is the one under test."""
    yield chromium
    for context in chromium.contexts:
        context.close()


@pytest.fixture(scope="session")
def chromium(host):
    if CHROMIUM is None:
        if os.environ.get("MIXDIFF_CHROMIUM_REQUIRED"):
            pytest.fail("page tests need Chromium, and none was found")
        pytest.skip("page tests need Chromium (Debian's package chromium), and none was found")
    with browsing(host.url) as browser:
        yield browser
