"""What is to be acted on has an `elem_id` of its own, by which other extensions, style sheets and tests find it."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

ARRANGE = {"column", "form", "group", "html", "row"}


def parts(node: dict) -> Iterator[int]:
    yield node["id"]
    for child in node.get("children", ()):
        yield from parts(child)


def found(node: dict, ids: dict[int, str]) -> Iterator[dict]:
    """Accordions and the tab, in the page's layout."""
    if ids.get(node["id"], "").endswith(("_mixdiff_mixdiff", "tab_mixdiff_afa")):
        yield node
    else:
        for child in node.get("children", ()):
            yield from found(child, ids)


def test_each_component_has_an_id_of_its_own(host):
    config = host.get("/config")
    ids = {each["id"]: each["props"].get("elem_id") or "" for each in config["components"]}
    kinds, times = {each["id"]: each["type"] for each in config["components"]}, Counter(ids.values())
    homes = list(found(config["layout"], ids))
    ours = [part for home in homes for part in parts(home) if kinds[part] not in ARRANGE]
    assert len(homes) >= 2 and {"accordion", "button", "dropdown", "tabs", "textbox"} <= {kinds[part] for part in ours}
    for part in ours:
        assert ids[part].startswith(("script_txt2img_mixdiff_", "script_img2img_mixdiff_", "mixdiff_", "tab_mixdiff_")), (kinds[part], ids[part])
        assert times[ids[part]] == 1, ids[part]
