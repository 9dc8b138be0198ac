"""A folder of pictures with captions: NAME.txt, in UTF-8, beside each NAME.png."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lib_mixdiff.train.faults import TrainError

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
LISTED = 20  # bad files of a message
LARGEST = 178_000_000  # px of a picture: PIL's own limit, which some extensions switch off


@dataclass(frozen=True)
class Picture:
    path: Path
    name: str  # its path inside the folder
    caption: str

    @property
    def key(self) -> str:
        """Changes with the file."""
        file = self.path.stat()
        return f"{self.name}|{file.st_size}|{file.st_mtime_ns}"


def pictures(folder: Path) -> tuple[list[Picture], list[str]]:
    """All pictures inside, by name, and a sentence for each that has no usable caption."""
    try:
        if not folder.is_dir():
            raise TrainError(f"data: {folder} is no folder; name one that holds pictures and their .txt captions.")
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    except OSError as error:
        raise TrainError(f"data: {folder} cannot be read ({error.strerror}); look whether it is still there.") from error
    found, bad = [], []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if (shown := name.encode("utf-8", "backslashreplace").decode()) != name:
            bad.append(f"{shown} has a name that is not UTF-8; rename it")
            continue
        try:
            found.append(Picture(path, name, " ".join(path.with_suffix(".txt").read_text(encoding="utf-8-sig").split())))
        except FileNotFoundError:
            bad.append(f"{name} has no caption; write one to {path.stem}.txt beside it, an empty file for none")
        except UnicodeDecodeError:
            bad.append(f"{path.stem}.txt of {name} is not UTF-8; save it in that encoding")
        except OSError as error:
            bad.append(f"{path.stem}.txt of {name} cannot be read ({error.strerror})")
    if not found and not bad:
        raise TrainError(f"data: {folder} holds no picture ({', '.join(sorted(ENDINGS))}); put some there, each with a .txt caption.")
    return found, bad


def fitted(width: int, height: int, unit: int, resolution: int | None) -> tuple[int, int, int, int]:
    """Size to scale a picture to, and the multiples of `unit` that are cut from its middle; px. Never enlarged."""
    scale = min(1.0, resolution / (width * height) ** 0.5) if resolution else 1.0
    wide, high = round(width * scale), round(height * scale)
    return wide, high, wide // unit * unit, high // unit * unit


def opened(picture: Picture, unit: int, resolution: int | None) -> np.ndarray | str:
    """(height, width, 3) uint8, sides multiples of `unit`; or what is wrong with it. What is transparent lies on white."""
    try:
        with Image.open(picture.path) as file:
            if file.width * file.height > LARGEST:
                return f"{picture.name} is too large ({file.width}x{file.height}); {LARGEST // 10**6} megapixels are the most here"
            image = ImageOps.exif_transpose(file)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
            image = image.convert("RGB")
    except Exception as error:  # PIL's decoders raise nearly anything
        return f"{picture.name} cannot be read as a picture ({error}); repair or remove it"
    wide, high, width, height = fitted(*image.size, unit, resolution)
    if not width or not height:
        return f"{picture.name} is too small ({image.width}x{image.height}); {unit} pixels a side are the least here"
    if (wide, high) != image.size:
        image = image.resize((wide, high), Image.Resampling.LANCZOS)
    left, top = (wide - width) // 2, (high - height) // 2
    return np.asarray(image)[top:top + height, left:left + width]


def refuse(bad: list[str], count: int) -> None:
    """Stops with the list of bad files."""
    more = [f"... and {len(bad) - LISTED} more"] if len(bad) > LISTED else []
    lines = "\n".join(f"  {line}" for line in [*bad[:LISTED], *more])
    raise TrainError(f"data: {len(bad)} of {count} pictures cannot be used:\n{lines}\nCorrect them, or go on without them "
                     "(skip_bad: true; in the tab: Go on without pictures that cannot be used).")
