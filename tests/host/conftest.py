"""What several files of host tests need beside the host."""
from __future__ import annotations

import pytest

from tests.host.client import JOB
from tests.host.pair import going, pair  # noqa: F401  (a fixture)


@pytest.fixture
def other_checkpoint(host) -> tuple[str, list[str]]:
    """One that shares the loaded one's config, so that weights are switched in place, and one that does not; (loaded, others)."""
    loaded = host.get("/sdapi/v1/options")["sd_model_checkpoint"]
    known = {model["title"]: model["config"] for model in host.get("/sdapi/v1/sd-models")}
    others = [name for name in ("tinyA", "tinyB", "tinyY") for title in known if title.split(".")[0] == name and title != loaded]
    if not loaded.startswith("tiny") or len(others) < 2:
        pytest.skip("needs the random checkpoints tinyA, tinyB and tinyY, one of them loaded")
    return loaded, others


@pytest.fixture
def large(monkeypatch) -> None:
    """Jobs of 128x128: several tiles."""
    for side in ("width", "height"):
        monkeypatch.setitem(JOB, side, 128)


@pytest.fixture
def go(host):
    return going(host)
