"""The entry for the WebUI's index of extensions, as that index's own checks want it."""
from __future__ import annotations

import datetime
import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
# of AUTOMATIC1111/stable-diffusion-webui-extensions, branch extensions, tags.json, without "installed", which is the WebUI's own
TAGS = {"UI related", "ads", "animation", "dropdown", "editing", "extras", "localization", "manipulations", "models", "online", "prompting",
        "query", "science", "script", "tab", "training"}


def test_the_entry_is_one_that_the_index_takes():
    file = ROOT / "docs" / "extension-index" / "mixdiff.json"
    entry = json.loads(file.read_text(encoding="ascii"))
    assert list(entry) == ["name", "url", "description", "added", "tags"]
    assert entry["tags"] and set(entry["tags"]) <= TAGS and len(set(entry["tags"])) == len(entry["tags"])
    assert str(datetime.date.fromisoformat(entry["added"])) == entry["added"]
    assert re.fullmatch(r"https://[^ ]+/mixdiff\.git", entry["url"]) and entry["description"].endswith(".")
    script = (ROOT / "scripts" / "mixdiff.py").read_text(encoding="utf-8")
    assert re.search(r'def title\(self\):\s+return "(.*)"', script)[1] == entry["name"] == file.stem
