"""Trains a shapes checkpoint, in pieces: `python -m minihost.shapes.train STAGE --minutes 45` goes on where the last piece stopped.

STAGE is `vae`; `decoder`: that of the VAE alone, further, which leaves latents as they are, so it may run beside `unet`;
`encode`: scenes to latents, once; `unet`. Each piece ends in a snapshot under --work and a usable file.
Scenes, noise and timesteps depend on (seed, global sample index) only, so a resumed run is the same run; so is one on several
processes, which share each of `unet`'s batches: `OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m minihost.shapes.train unet`.
"""
from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from minihost.shapes import parts, world

SEED = 1
# (width, height) px, most objects, scenes, pictures in a batch: batches cost about the same
SIZES = [((64, 64), 2, 24_000, 64), ((128, 128), 4, 28_000, 16), ((64, 128), 3, 4_000, 32), ((128, 64), 3, 4_000, 32)]
TURNS = [1, 1, 1, 0, 1, 1, 1, 2, 1, 1, 1, 0, 1, 1, 1, 3]        # the sizes in training: where there is most to count is hardest
# (side px, pictures) of the VAE's batches: being convolutional it learns on small crops, and must see whole pictures too
VAE_TURNS = [(32, 16), (32, 16), (64, 4), (32, 16), (32, 16), (64, 4), (32, 16), (128, 1)]


def pixels(pictures: np.ndarray) -> Tensor:
    """(b, h, w, 3) uint8 to (b, 3, h, w) in -1..1."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def scene(size: int, index: int) -> world.Scene:
    (width, height), most, _, _ = SIZES[size]
    rng = np.random.default_rng((SEED, size, index))
    return world.scene_at_random(rng, width, height, int(rng.integers(0, most + 1)))


def vae_batch(step: int) -> Tensor:
    """Pictures, or crops near an object."""
    side, count = VAE_TURNS[step % len(VAE_TURNS)]
    size = max(side, 64)
    crops = []
    for i in range(count):
        rng = np.random.default_rng((SEED, 99, step, i))
        s = world.scene_at_random(rng, size, size, int(rng.integers(0, 5 if size > 64 else 3)))
        x, y = rng.integers(0, size - side + 1, 2)
        if s.things and rng.random() < 0.8:
            x, y = (int(np.clip(c - side / 2 + rng.uniform(-14, 14), 0, size - side)) for c in (s.things[0].x, s.things[0].y))
        crops.append(world.render(s)[y:y + side, x:x + side])
    return pixels(np.stack(crops))


def train_vae(work: Path, deadline: float, steps: int, decoder_only: bool = False) -> None:
    stage, lr = ("decoder", 1e-3) if decoder_only else ("vae", 2e-3)
    vae = (load_vae(work) if decoder_only else parts.Vae()).to(memory_format=torch.channels_last).train()
    if decoder_only:
        vae.encoder.requires_grad_(False), vae.quant_conv.requires_grad_(False)
    weights = [w for w in vae.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=lr, weight_decay=0.0, betas=(0.9, 0.99))
    done, losses = 0, []
    if (snapshot := work / f"{stage}.snapshot.pt").exists():
        state = torch.load(snapshot)
        vae.load_state_dict(state["vae"]), optimizer.load_state_dict(state["optimizer"])
        done = state["done"]

    def save() -> None:
        torch.save({"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "done": done}, snapshot)
        torch.save(vae.state_dict(), work / "vae.pt.new")
        (work / "vae.pt.new").replace(work / "vae.pt")

    while done < steps and time.time() < deadline:
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (done + 1) / 100, max(0.02, (steps - done) / (0.5 * steps)))
        target = vae_batch(done + 1_000_000 * decoder_only).to(memory_format=torch.channels_last)
        noise = torch.Generator().manual_seed(done)
        with torch.autocast("cpu", torch.bfloat16):
            mean, logvar = vae.moments(target)
            z = mean + torch.exp(0.5 * logvar) * torch.randn(mean.shape, generator=noise)
            drawn = vae.decode(z).float()
        mean, logvar = mean.float(), logvar.float()
        kl = 0.5 * (mean**2 + logvar.exp() - 1.0 - logvar).mean()
        error = F.l1_loss(drawn, target) + 4.0 * F.mse_loss(drawn, target)
        optimizer.zero_grad()
        (error + 1e-3 * kl).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        done += 1
        losses.append(F.l1_loss(drawn.detach(), target).item())
        if done % 100 == 0:
            clock = time.strftime("%H:%M:%S")
            print(f"{stage}: step {done}, l1 {np.mean(losses[-100:]):.4f}, kl {kl.item():.3f}, {clock}", flush=True)
        if done % 200 == 0:
            save()
    save()


@torch.inference_mode()
def encode(work: Path) -> None:
    """Latents of every training scene (float16, the posterior's mean and deviation) with its caption's tokens."""
    vae = load_vae(work).to(memory_format=torch.channels_last)
    tokenizer_dir = work / "clip-shapes"
    parts.write_tokenizer(tokenizer_dir)
    from transformers import CLIPTokenizer
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_dir)
    for size, (shape, _, count, batch) in enumerate(SIZES):
        if (out := work / f"latents-{size}.pt").exists():
            continue
        means, deviations, tokens = [], [], []
        for start in range(0, count, batch):
            scenes = [scene(size, i) for i in range(start, min(start + batch, count))]
            batch_pixels = pixels(np.stack([world.render(s) for s in scenes]))
            with torch.autocast("cpu", torch.bfloat16):
                mean, logvar = vae.moments(batch_pixels.to(memory_format=torch.channels_last))
            means.append(mean.half()), deviations.append(torch.exp(0.5 * logvar.float()).half())
            tokens += tokenizer([world.caption(s) for s in scenes], padding="max_length", max_length=77).input_ids
        torch.save({"mean": torch.cat(means), "deviation": torch.cat(deviations),
                    "tokens": torch.tensor(tokens, dtype=torch.int16)}, out)
        print(f"encode: {count} of {shape}", flush=True)


ANYWHERE = {"v": 0.3, "eps": 1.0}       # share of the timesteps; an eps network must learn to pass on the noise of the high ones exactly


def timesteps(count: int, rng: torch.Generator, share: float) -> Tensor:
    """(count,) in 0..1: but for `share`, where it is decided where things are and what. Which noise levels are seen how often
    changes only how much is learned of each; a weight on the cells of objects, tempting too, would change what is right: the mean
    over all scenes that x_t allows becomes one with more objects than there are, and so do the pictures."""
    anywhere, middle = torch.rand(count, generator=rng), 0.05 + 0.7 * torch.rand(count, generator=rng)
    return torch.where(torch.rand(count, generator=rng) < share, anywhere, middle)


@torch.no_grad()
def features_of(text: torch.nn.Module, tokens: Tensor) -> Tensor:
    """(captions, 77, channels) bfloat16 of tokens (captions, 77)."""
    with torch.autocast("cpu", torch.bfloat16):
        return torch.cat([text(part.long()).last_hidden_state.bfloat16() for part in tokens.split(256)])


def load_vae(work: Path) -> parts.Vae:
    vae = parts.Vae()
    vae.load_state_dict(torch.load(work / "vae.pt"))
    return vae.eval()


def train_unet(work: Path, deadline: float, steps: int, parameterization: str = "v", start: Path | None = None, lr: float = 1e-3,
               text_lr: float = 0.0) -> None:
    data = [torch.load(work / f"latents-{i}.pt") for i in range(len(SIZES))]
    scale = 1.0 / data[0]["mean"].float().std()         # the yaml's scale_factor: latents of unit variance
    torch.manual_seed(SEED)
    # At first the text model stays as it was drawn. With two dozen words, random features tell all apart and a step costs a third
    # less; trained with the U-Net from the beginning it learned colours, and by then circle and square were one to it. What random
    # features cannot do well is to bind a colour to its shape where there are several: for that the two are trained together at last.
    text = parts.text_model(work / "clip-shapes").eval()
    unet = parts.unet()
    if start is not None:
        begun = torch.load(start)
        unet.load_state_dict(begun["unet"])
        text.load_state_dict(begun.get("text", text.state_dict()), strict=False)
    no_text = torch.tensor([text.config.bos_token_id] + 76 * [text.config.eos_token_id])
    features = [] if text_lr else [features_of(text, d["tokens"]) for d in data]
    no_features = features_of(text, no_text[None])[0]
    groups = [{"params": list(unet.parameters()), "base": lr}] + ([{"params": list(text.parameters()), "base": text_lr}] if text_lr else [])
    weights = [w for group in groups for w in group["params"]]
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=0.01, betas=(0.9, 0.99))
    average = [w.detach().clone() for w in weights]
    done = 0
    if (snapshot := work / f"unet-{parameterization}.snapshot.pt").exists():
        state = torch.load(snapshot)
        unet.load_state_dict(state["unet"]), text.load_state_dict(state["text"])
        optimizer.load_state_dict(state["optimizer"])
        average, done = state["average"], state["done"]
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if ranks > 1:
        dist.init_process_group("gloo")
    abar = parts.betas_and_abar(parameterization)[1].float()
    losses: list[float] = []

    def save() -> None:
        if rank > 0:
            return
        torch.save({"unet": unet.state_dict(), "text": text.state_dict(), "optimizer": optimizer.state_dict(), "average": average,
                    "done": done}, snapshot)
        live = [w.detach().clone() for w in weights]
        with torch.no_grad():
            torch._foreach_copy_(weights, average)
            torch.save({"unet": unet.state_dict(), "text": text.state_dict(), "scale_factor": float(scale), "done": done},
                       work / f"unet-{parameterization}.pt")
            torch._foreach_copy_(weights, live)

    while done < steps and time.time() < deadline:
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * min(1.0, (done + 1) / 200, max(0.02, (steps - done) / (0.3 * steps)))
        size = TURNS[done % len(TURNS)]
        rng = torch.Generator().manual_seed(SEED * 1_000_000_007 + done)
        d, b = data[size], SIZES[size][3]
        pick = torch.randint(0, len(d["mean"]), (b,), generator=rng)
        mean = d["mean"][pick].float()
        x0 = scale * (mean + d["deviation"][pick].float() * torch.randn(mean.shape, generator=rng))
        noise = torch.randn(x0.shape, generator=rng)
        t = (timesteps(b, rng, ANYWHERE[parameterization]) * parts.TIMESTEPS).long()
        dropped = torch.rand(b, generator=rng) < 0.25       # at guidance 5 an error of the uncond counts nearly as one of the cond
        mine = slice(rank, None, ranks)
        x0, noise, t, dropped, pick = (whole[mine] for whole in (x0, noise, t, dropped, pick))
        a = abar[t].view(-1, 1, 1, 1)
        x_t = a.sqrt() * x0 + (1 - a).sqrt() * noise
        with torch.autocast("cpu", torch.bfloat16):
            if text_lr:
                context = text(torch.where(dropped[:, None], no_text, d["tokens"][pick].long())).last_hidden_state
            else:
                context = torch.where(dropped[:, None, None], no_features, features[size][pick])
            out = unet(x_t, t, context).float()
        if parameterization == "v":
            error = (out - (a.sqrt() * noise - (1 - a).sqrt() * x0)) ** 2
        else:       # eps, weighted as if it were v: a plain eps loss hardly learns a flat background
            error = (out - noise) ** 2 / a
        loss = error.mean()
        optimizer.zero_grad()
        loss.backward()
        if ranks > 1:
            whole = torch.nn.utils.parameters_to_vector([w.grad for w in weights])
            dist.all_reduce(whole)
            torch.nn.utils.vector_to_parameters(whole / ranks, [w.grad for w in weights])
        norm = torch.nn.utils.clip_grad_norm_(weights, 1.0)
        if norm.isfinite():         # bfloat16 on AMX was seen to give a NaN now and then, never twice from the same batch
            optimizer.step()
            losses.append(loss.item())
        done += 1
        with torch.no_grad():
            keep = min(0.9995, (done + 1) / (done + 10))
            torch._foreach_mul_(average, keep)
            torch._foreach_add_(average, weights, alpha=1 - keep)
        if done % 100 == 0 and rank == 0:
            print(f"unet: step {done}, loss {np.mean(losses[-100:]):.4f}, {time.strftime('%H:%M:%S')}", flush=True)
        if done % 500 == 0:
            save()
    save()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("stage", choices=["vae", "decoder", "encode", "unet"])
    arguments.add_argument("--work", type=Path, default=Path("out/shapes"))
    arguments.add_argument("--minutes", type=float, default=45.0)
    arguments.add_argument("--steps", type=int, default=None)
    arguments.add_argument("--begin-with", type=Path, help="of `unet`: a finished one to go on from, whatever it predicts")
    arguments.add_argument("--parameterization", choices=["v", "eps"], default="v")
    arguments.add_argument("--lr", type=float, default=1e-3, help="of the U-Net")
    arguments.add_argument("--text-lr", type=float, default=0.0, help="of the text model; 0: it stays as it is")
    chosen = arguments.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    deadline = time.time() + 60 * chosen.minutes
    torch.manual_seed(SEED)
    if chosen.stage in ("vae", "decoder"):
        train_vae(chosen.work, deadline, chosen.steps or 4000, chosen.stage == "decoder")
    elif chosen.stage == "encode":
        encode(chosen.work)
    else:
        train_unet(chosen.work, deadline, chosen.steps or 10_000, chosen.parameterization, chosen.begin_with, chosen.lr,
                   chosen.text_lr)


if __name__ == "__main__":
    main()
