"""What docs/compared.md says of mixdiff and no host can show: an extension that no host of these tests has."""
from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lib_mixdiff.errors import PlanError


@pytest.mark.parametrize("tokens, refused", [(77, False), (78, True), (155, True)])
def test_controlnet_beside_regions_is_refused_by_name(monkeypatch, tokens, refused):
    """ControlNet marks a cond with one token more than the text encoder's 77 for each part."""
    if (folder := str(Path(__file__).parent.parent / "minihost")) not in sys.path:
        sys.path.append(folder)
    from modules import shared

    from lib_mixdiff.host.sampling import Sampling

    sampling = object.__new__(Sampling)
    sampling.checkpoint = object()
    monkeypatch.setattr(shared, "sd_model", SimpleNamespace(sd_checkpoint_info=sampling.checkpoint))
    with pytest.raises(PlanError if refused else AttributeError, match="ControlNet" if refused else ""):
        sampling.begin(None, None, torch.zeros(1, tokens, 4), torch.zeros(1))
