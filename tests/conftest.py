"""Chromium beside the host under test, for the page tests."""
from __future__ import annotations

import os

import pytest

from bench.browser import CHROMIUM, browsing


@pytest.fixture(scope="module")
def browser():
    """A playwright Browser; its `host` is at MIXDIFF_WEBUI_URL (a WebUI with this extension), else an embedded one."""
    if CHROMIUM is None:
        if os.environ.get("MIXDIFF_CHROMIUM_REQUIRED"):
            pytest.fail("page tests need Chromium, and none was found")
        pytest.skip("page tests need Chromium (Debian's package chromium), and none was found")
    with browsing(os.environ.get("MIXDIFF_WEBUI_URL")) as browser:
        yield browser
