"""Several checkpoints in one picture: a stack of experts, and one for each region."""
from __future__ import annotations

from bench.detector import detect
from bench.specialists import right, scene, stack
from minihost.client import Host
from minihost.demo.drawing import draw, of, seen
from minihost.demo.page import Frame, Row, Section, Shot
from minihost.shapes import world

SEED, PROMPTS, CUT = 700, 4, 0.6
ALONE = {"shapes-a": {"model": "shapes-a"}, "shapes-b": {"model": "shapes-b"}}
HALVES = [[0, 0, 0.5, 1], [0.5, 0, 1, 1]]


def stacked(on: Host) -> Section:
    about = f"""Two specialists: <code>shapes-a</code> has forgotten what words of colours mean, <code>shapes-b</code> what words of shapes
mean. As a stack, <code>shapes-b</code> for the first {CUT:.0%} of the steps and <code>shapes-a</code> for the rest, they draw what neither
can. One network's time for each step, whatever the number of experts. Against the cut: <code>python -m bench.specialists</code>."""
    rows, result = compared(on, {**ALONE, "The stack": stack("shapes-b", "shapes-a", CUT)})
    return Section("stack", "A stack of two experts", "eDiff-I, Fig. 2", about, result, rows)


def compared(on: Host, plans: dict[str, dict]) -> tuple[list[Row], str]:
    """The same prompts of one object under each of these plans, by title: is the colour right, is the shape?"""
    rows, hits = [], {title: [] for title in plans}
    for index in range(PROMPTS):
        asked, shots = scene(1000 + index), []
        for title, plan in plans.items():
            found = detect(picture := draw(on, world.caption(asked), SEED + index, plan, 64, 64))
            color, shape, both = right(found, asked.things[0].name)
            hits[title].append(both)
            score = f"colour {'right' if color else 'wrong'}, shape {'right' if shape else 'wrong'}"
            shots.append(Shot(title, picture, score, both, seen(found), plan=plan))
        rows.append(Row(world.caption(asked), shots))
    return rows, counted(hits)


def counted(hits: dict[str, list[bool]]) -> str:
    return "; ".join(f"{title}: {of(several, 'right')}" for title, several in hits.items())


def by_region(on: Host) -> Section:
    about = """One picture, two checkpoints: the left region is drawn by <code>shapes-a</code>, which gets shapes right, the right one by
<code>shapes-b</code>, which gets colours right; both have the same prompt."""
    asked = scene(1003)
    prompt = world.caption(asked)
    plan = {"regions": [{"name": name, "box": box, "prompt": prompt, "model": name} for name, box in zip(("shapes-a", "shapes-b"), HALVES)]}
    frames = [Frame(region["box"], region["name"]) for region in plan["regions"]]
    picture = draw(on, prompt, SEED, plan, 128, 64)
    left, other = (right(detect(half), asked.things[0].name) for half in (picture[:, :64], picture[:, 64:]))
    score = f"left: shape {'right' if left[1] else 'wrong'}; right: colour {'right' if other[0] else 'wrong'}"
    return Section("checkpoints", "A checkpoint for each region", "", about, score, [
        Row(prompt, [Shot("Two checkpoints", picture, score, left[1] and other[0], seen(detect(picture)), frames, plan)])])


SECTIONS = [stacked, by_region]
