"""AMDM: the intermediate latents of several guided models, mixed on the sphere (equations 9 and 10, Algorithm 1).

All in variance-preserving coordinates, where latents lie near a sphere; norms and angles are those of one image's whole latent.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

PAPERS_NUMEL = 4 * 64 * 64      # of a latent of 512 x 512, for which the paper says eta
PARALLEL = 1e-4                 # rad
ROUNDING = 1e-6                 # of a latent's norm


def own_mean(x: Tensor, denoised: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """One model's own step, deterministic: Euler's in sigma is DDIM's (equation 4 without noise). x of unit variance, float32."""
    x = x * (1 + sigma**2) ** 0.5
    return (denoised + (sigma_next / sigma) * (x - denoised)) / (1 + sigma_next**2) ** 0.5


def advanced(means: Sequence[Tensor], weights: Sequence[float], etas: Sequence[float], mix: str) -> list[Tensor]:
    """The latents with which the models go on, in the order of `means`: each model's own step, (images, channels, height, width).

    mix: "slerp" and "lerp" are mixed and then corrected toward each model's own mean; "average" is the mean of the predictions, on one
    latent for all. Weights count as shares, one of them is above 0.
    """
    flat = [mean.float().flatten(1) for mean in means]
    mixed = spherical(flat, weights) if mix == "slerp" else linear(flat, weights)
    if mix == "average":
        return [mixed.view_as(mean).to(mean.dtype) for mean in means]
    return [corrected(mixed, own, eta).view_as(mean).to(mean.dtype) for mean, own, eta in zip(means, flat, etas)]


def spherical(latents: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Equation 9, for more than two one after the other, each with its share of all so far. (images, numel), float32."""
    mixed, total = latents[0], weights[0]
    for latent, weight in zip(latents[1:], weights[1:]):
        total += weight
        if weight:
            mixed = slerp(mixed, latent, weight / total)
    return mixed


def linear(latents: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """(images, numel), float32."""
    total, mixed = sum(weights), torch.zeros_like(latents[0])
    for latent, weight in zip(latents, weights):
        mixed += latent * (weight / total)
    return mixed


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """From a to b, (images, numel): directions along the great circle, norms linearly."""
    norm_a, norm_b = (x.norm(dim=1, keepdim=True).clamp_min(1e-12) for x in (a, b))
    u, v = a / norm_a, b / norm_b
    angle = 2 * torch.atan2((u - v).norm(dim=1, keepdim=True), (u + v).norm(dim=1, keepdim=True))       # acos of u v is blind near 1
    wide = angle.sin() > PARALLEL
    divisor = torch.where(wide, angle.sin(), torch.ones_like(angle))
    of_u = torch.where(wide, ((1 - share) * angle).sin() / divisor, torch.full_like(angle, 1 - share))
    of_v = torch.where(wide, (share * angle).sin() / divisor, torch.full_like(angle, share))
    return (of_u * u + of_v * v) * torch.lerp(norm_a, norm_b, share)


def corrected(mixed: Tensor, mean: Tensor, eta: float) -> Tensor:
    """Equation 10: eta along the way from the mixture to the model's own mean, and never past it; (images, numel).

    The paper's eta is a length at 512 x 512; at other sizes it is the same part of the latent's norm.
    """
    away = mixed - mean
    distance = away.norm(dim=1, keepdim=True)
    step = (eta * (mean.shape[1] / PAPERS_NUMEL) ** 0.5 / distance.clamp_min(1e-12)).clamp_max(1.0)
    return torch.where(distance > ROUNDING * mixed.norm(dim=1, keepdim=True), mixed - step * away, mixed)
