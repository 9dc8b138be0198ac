"""The page's static texts, for who translates them: `python -m bench.texts` writes localizations/mixdiff-template.json."""
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench.browser import browsing, open_accordion

ROOT = Path(__file__).parent.parent
OUT = ROOT / "localizations" / "mixdiff-template.json"
MARK = "§"          # what a user has written or named
RANGE = {"unit": "steps", "from": 0, "to": 1}
PLANS = [           # together they show every panel and each kind of model
    {"regions": [{"name": MARK, "prompt": MARK}], "guides": [{"name": MARK}], "paint": {"phrases": [{"phrase": MARK}], "range": RANGE},
     "model": MARK, "tiles": {}, "hires": {"tiles": {}}, "amdm": {"models": [{"name": MARK}]}},
    {"regions": [{"prompt": MARK, "range": RANGE, "model": MARK}], "model": {"experts": [{"model": MARK, "range": RANGE}]}},
    {"model": {"afa": {"models": [MARK, MARK]}}}]
# what is offered beside the plan of a picture, and beside a guide that carries one
BROUGHT = {"take": f"{MARK}\nSteps: 2, Sampler: Euler, Seed: 1, Size: 64x64, mixdiff: {json.dumps(json.dumps({'regions': []}))}",
           "alsoPlan": "Xtmixdiff\0"}

# Keeps what the WebUI's own script would look up of our elements: as they are added, all texts below them, but the tooltip and the
# placeholder of each only where it is added by itself.
WATCH = r"""
(() => {
    const OURS = "[id$=_mixdiff_mixdiff], #mixdiff_training", OFFER = ".mixdiff-offer";
    const DYNAMIC = "[role=status], .mixdiff-note, .mixdiff-left-out, .mixdiff-pictures-of, .mixdiff-text, .mixdiff-stack, " +
        ".mixdiff-stack + *, datalist, .mixdiff-presets > :not([value='']), .mixdiff-training :is(select, figure, pre, details:has(> ul))";
    const texts = window.mixdiffTexts = new Set();
    const keep = (text, element) => {
        const fixed = /\p{L}/u.test(text) && !/MARK|^\w+ \d+$|\p{Extended_Pictographic}/u.test(text);
        if (fixed && element?.closest(OURS) && (element.closest(OFFER) || !element.closest(DYNAMIC))) texts.add(text);
    };
    const added = (node) => {
        if (node.title) keep(node.title, node);
        if (node.placeholder && node.matches("textarea, input:not([type=checkbox])")) keep(node.placeholder, node);
        const walk = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
        for (let text = node.nodeType === Node.TEXT_NODE ? node : walk.nextNode(); text; text = walk.nextNode()) {
            if (!text.parentElement?.matches("script, style, textarea")) keep(text.textContent.trim(), text.parentElement);
        }
    };
    const watch = new MutationObserver((records) => records.forEach(({addedNodes}) => addedNodes.forEach(added)));
    watch.observe(document, {childList: true, subtree: true});
})();
"""


def shown(browser: Any) -> Any:
    """A playwright Page that has shown all that there is of ours, watched."""
    page = browser.new_page(viewport={"width": 1280, "height": 1100})
    page.add_init_script(WATCH.replace("MARK", MARK))
    page.goto(browser.host.url)
    page.wait_for_selector("#txt2img_generate")
    open_accordion(page)
    page.locator(".mixdiff-presets option").nth(1).wait_for(state="attached")
    for plan in PLANS:
        page.locator("[id$=mixdiff_plan] textarea").first.fill(json.dumps(plan))
        for box in page.locator(".mixdiff-box").all():
            box.focus()
    for act, text in BROUGHT.items():
        page.evaluate("([act, text]) => document.querySelector('.mixdiff-editor').mixdiff.files[act](new File([text], 'a'), 'a')",
                      [act, text])
        page.locator(".mixdiff-offer").first.wait_for()
    page.locator("#tabs > .tab-nav button", has_text="AFA").click()
    page.locator("#mixdiff_training_kinds > .tab-nav button").last.click()
    page.locator("#mixdiff_training_unet_node input").click()
    page.locator("#mixdiff_training_unet_node ul.options li").first.wait_for()
    return page


def of_page(page: Any) -> set[str]:
    """The embedded host has no tab img2img."""
    img2img = page.evaluate("Reflect.get(MixdiffBackdrop.prototype, 'choices', {editor: {tab: 'img2img'}}).map(([, text]) => text)")
    return {*page.evaluate("[...mixdiffTexts]"), *img2img}


def of_settings() -> set[str]:
    if (host := str(ROOT / "minihost")) not in sys.path:
        sys.path.append(host)
    from lib_mixdiff.host.settings import OPTIONS
    return {text for _, label, choices, comment in OPTIONS.values()
            for text in (label, f"({comment})", *(choices if isinstance(choices, list) else ()))}


def template(page: Any) -> str:
    """The file: each text stands for itself, so that who chooses it by accident sees the page as it is; an empty one would blank it."""
    texts = sorted(of_page(page) | of_settings(), key=lambda text: (text.casefold(), text))
    return json.dumps(dict(zip(texts, texts)), indent=4, ensure_ascii=False) + "\n"


def main() -> None:
    with browsing() as browser:
        text = template(shown(browser))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
