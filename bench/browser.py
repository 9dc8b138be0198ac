"""The page of a host in Chromium."""
from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from minihost.client import Host, served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]


@contextmanager
def browsing(url: str | None = None) -> Iterator[Any]:
    """A playwright Browser whose `host` is the one at `url`, else an embedded one; RuntimeError where no Chromium is found."""
    from playwright.sync_api import sync_playwright
    if CHROMIUM is None:
        raise RuntimeError("this needs Chromium (Debian's package chromium), and none was found")
    with nullcontext(Host(url)) if url else served() as host, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        browser.host = host
        yield browser
        browser.close()


@contextmanager
def opened(width: int = 1280, height: int = 1100) -> Iterator[Any]:
    """A playwright Page of an embedded host, its accordion open; `host` is the host."""
    with browsing() as browser:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.host = browser.host
        show(page)
        yield page


def show(page: Any, theme: str = "light") -> None:
    page.goto(f"{page.host.url}/?__theme={theme}")
    page.wait_for_selector("#txt2img_generate")
    open_accordion(page)


def open_accordion(page: Any) -> None:
    page.get_by_text("mixdiff", exact=True).first.click()
    page.locator(".mixdiff-stage").first.wait_for(state="visible")
