"""A host does plain jobs as the genuine WebUI did: the same hooks in the same order, the same calls of the network, the same latents."""
from __future__ import annotations

import numpy as np
import pytest

from tests.host import references


@pytest.mark.parametrize("checkpoint", references.CHECKPOINTS)
@pytest.mark.parametrize("job", references.JOBS)
def test_a_plain_job_is_the_recorded_one(host, checkpoint, job):
    expected, traces = references.recorded(checkpoint)
    got, trace = references.run(host, checkpoint, job)
    assert trace["hooks"] == traces[job]["hooks"]
    for key in ("x", "tokens"):
        assert [call[key] for call in trace["calls"]] == [call[key] for call in traces[job]["calls"]]
    np.testing.assert_allclose([call["sigma"] for call in trace["calls"]], [call["sigma"] for call in traces[job]["calls"]], rtol=1e-4)
    assert got.shape == expected[job].shape and np.abs(got - expected[job]).max() < 1e-2
