"""MagicFusion: at each pixel the model with most to say there predicts (Zhao et al., arXiv:2303.13126, section 3.2)."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class Saliency:
    """How rivals share a place. The paper has two models; more are compared alike."""

    unit = 1.0      # times which a difference of the mosaic's predictions is one of the guided noises, at the step at hand

    def shares(self, differences: Sequence[Tensor]) -> Tensor:
        """(N, images, 1, h, w), 1 for one of the models and 0 for the others, from what guidance adds to each one's prediction, (images, c,
        h, w): of its size, blurred, the softmax over the pixels says how salient a pixel is to the model."""
        salient = torch.stack([(self.unit * each).abs().mean(1, keepdim=True) for each in differences]).float()
        blurred = salient.flatten(0, 1)
        for _ in range(2):
            blurred = F.avg_pool2d(blurred, 3, 1, 1, count_include_pad=False)
        most = blurred.flatten(1).softmax(1).view_as(salient).argmax(0, keepdim=True)
        return torch.zeros_like(salient).scatter_(0, most, 1.0)
