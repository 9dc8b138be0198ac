"""Tables of bench/RESULTS.md as curves: bench.tiles into docs/seams.png, bench.amdm into docs/amdm.png. `python -m bench.curves`."""
from __future__ import annotations

import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

ROOT = Path(__file__).parent.parent
COLORS, MARKERS = {"fixed": "#c2571a", "shifted": "#1a6fc2"}, "os^"
MIXED = re.compile(r"A\(\+B(?:\+C)?\)(?:, (lerp|average))?, (\d+) steps")
MARK = 1.25             # times the canvas
HALF_PX = 32            # of a tile's 64
WANTED = {"things": "named", "no prompt": "one background"}         # what else is shown of each scene


def tables(text: str) -> dict[str, list[dict[str, str]]]:
    """Rows by column name, of each scene."""
    found: dict[str, list[dict[str, str]]] = {}
    names: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if "tiles / canvas" in line:
            names = cells
        elif not line.startswith("|"):
            names = []
        elif names and not cells[0].startswith("--"):
            row = dict(zip(names, cells))
            found.setdefault(row["scene"], []).append(row)
    return found


def number(cell: str) -> float:
    """Its first one; percent as a share."""
    match = re.match(r"([\d.]+)(%?)", cell)
    return float("nan") if match is None else float(match[1]) / (100 if match[2] else 1)


def mixed_steps(text: str) -> dict[str, dict[str, dict[int, list[float]]]]:
    """Of bench.amdm's settings and each mix, by the number of mixed steps what is right as a whole: share, lower and upper bound."""
    found: dict[str, dict[str, dict[int, list[float]]]] = {}
    names: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            names = []
        elif not names:
            names = cells
        elif (match := MIXED.fullmatch(cells[0])) and (whole := {"both", "all"} & set(names)):
            share = [float(each) / 100 for each in re.findall(r"([\d.]+)%", cells[names.index(whole.pop())])]
            found.setdefault(names[0], {}).setdefault(match[1] or "slerp", {}).setdefault(int(match[2]), share)
    return found


def amdm(text: str) -> None:
    found = mixed_steps(text)
    figure, axes = pyplot.subplots(1, len(found), figsize=(10, 3), sharey=True, squeeze=False, layout="constrained")
    for axis, (setting, mixes) in zip(axes[0], found.items()):
        for (mix, points), style in zip(mixes.items(), ("o-", "s--", "^:")):
            steps = sorted(points)
            share, low, high = zip(*(points[step] for step in steps))
            axis.plot(steps, share, style, markersize=4, linewidth=1.2, label=mix)
            if mix == "slerp":
                axis.fill_between(steps, low, high, alpha=0.15)
        axis.set_title(setting)
        axis.set_xlabel("mixed steps of 20")
        axis.set_xlim(-1, 21)
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("all as asked")
    axes[0][0].legend(fontsize=8)
    figure.savefig(ROOT / "docs" / "amdm.png", dpi=110)


def main() -> None:
    amdm((ROOT / "bench" / "RESULTS.md").read_text(encoding="utf-8"))
    scenes = tables((ROOT / "bench" / "RESULTS.md").read_text(encoding="utf-8"))
    figure, axes = pyplot.subplots(2, len(scenes), figsize=(10, 6.4), sharex=True, squeeze=False, layout="constrained")
    for (scene, rows), (upper, lower) in zip(scenes.items(), axes.T):
        for axis, column in ((upper, "seam score"), (lower, WANTED[scene])):
            for (canvas, marker) in zip(dict.fromkeys(row["canvas, px"] for row in rows), MARKERS):
                for grid, color in COLORS.items():
                    mine = sorted((row for row in rows if row["canvas, px"] == canvas and row["grid"] == grid),
                                  key=lambda row: number(row["tiles / canvas"]))
                    x, y = ([number(row[name]) for row in mine] for name in ("tiles / canvas", column))
                    axis.plot(x, y, color=color, marker=marker, markersize=5, linewidth=1.2, alpha=0.85, label=f"{grid}, {canvas} px")
                    half = [i for i, row in enumerate(mine) if number(row["overlap, px"]) == HALF_PX]
                    axis.plot([x[i] for i in half], [y[i] for i in half], "o", markersize=12, markerfacecolor="none", color=color)
            axis.axvline(MARK, color="gray", linewidth=0.8, linestyle="--")
            axis.set_ylabel(column)
            axis.grid(alpha=0.25)
        upper.set_title(f"Scene: {scene}")
        upper.axhline(1, color="gray", linewidth=0.8)
        lower.set_xlabel("area of all tiles over the canvas's (network calls)")
    axes[0][-1].legend(fontsize=8)
    figure.suptitle(f"Circled: tiles that overlap by half; dashed: {MARK} times the canvas", fontsize=10)
    figure.savefig(ROOT / "docs" / "seams.png", dpi=90)


if __name__ == "__main__":
    main()
