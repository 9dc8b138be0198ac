"""What several files of tests need: Chromium beside the host under test, and networks that learn nothing."""
from __future__ import annotations

import os

import pytest
import torch

from bench.browser import CHROMIUM, browsing


@pytest.fixture
def no_gradients():
    """And the same random numbers for each test."""
    torch.manual_seed(1)
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def browser():
    """A playwright Browser; its `host` is at MIXDIFF_WEBUI_URL (a WebUI with this extension), else an embedded one."""
    if CHROMIUM is None:
        if os.environ.get("MIXDIFF_CHROMIUM_REQUIRED"):
            pytest.fail("page tests need Chromium, and none was found")
        pytest.skip("page tests need Chromium (Debian's package chromium), and none was found")
    with browsing(os.environ.get("MIXDIFF_WEBUI_URL")) as browser:
        yield browser
