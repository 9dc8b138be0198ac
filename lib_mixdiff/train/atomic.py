"""Files that are there whole or not at all, whenever the process is killed."""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part"  # of a file that is being written


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives the path to write to; what was written there takes the place of `path` at once when the body ends, never when it raises."""
    part = path.with_name(path.name + PART)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Inside, no other process that asks for the same file is; BlockingIOError where one is already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            if os.name == "nt":
                import msvcrt
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BlockingIOError(str(path)) from error
        yield  # the system lets go of it with the file, or the process


def write_text(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def sweep(folder: Path, stem: str = "") -> None:
    """Deletes what a killed process has left half-written, of files whose names begin with `stem`."""
    for part in folder.glob(f"*{PART}"):
        if part.name.startswith(stem):
            part.unlink(missing_ok=True)
