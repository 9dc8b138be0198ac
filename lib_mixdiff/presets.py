"""Plans kept under a name, one JSON file each, on every file system."""
from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import Any

from lib_mixdiff.documents import decoded
from lib_mixdiff.errors import PlanError, inside

LONGEST = 80                    # characters
LONGEST_BYTES = 240             # of a name in UTF-8; file systems take 255
FORBIDDEN = frozenset('<>:"/\\|?*')
NO_LETTERS = {"Cc", "Cs", "Zl", "Zp"}       # control characters, halves of others, ends of lines and paragraphs
RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")}
SUFFIX = ".json"
ONE = Lock()


def checked(name: object) -> str:
    """The name in one spelling of its letters; PlanError where it could not be a file's on every system, or would leave its folder."""
    remedy = f'use 1 to {LONGEST} characters other than {" ".join(sorted(FORBIDDEN))}, no blank or dot at either end'
    if not isinstance(name, str):
        raise PlanError("name", name, remedy, "{value} is not a name")
    name = unicodedata.normalize("NFC", name)
    if not name or name != name.strip().strip(".") or FORBIDDEN & set(name) or any(unicodedata.category(c) in NO_LETTERS for c in name):
        raise PlanError("name", name, remedy, "{value} cannot be the name of a file")
    if len(name) > LONGEST or len(name.encode()) > LONGEST_BYTES:
        raise PlanError("name", name, remedy, "{value} is too long")
    if name.split(".")[0].rstrip().lower() in RESERVED:
        raise PlanError("name", name, "use another name", "{value} is a device on some systems")
    return name


def names(folder: Path) -> list[str]:
    return sorted((file.name[:-len(SUFFIX)] for file in folder.glob(f"*{SUFFIX}") if _is_name(file)), key=_same)


def load(folder: Path, name: object) -> Any:
    """What was saved under the name; PlanError, with status 404 where there is none."""
    file = _file(folder, name)
    with inside(file.name):
        return decoded(file.read_text(encoding="utf-8-sig", errors="replace"))


def save(folder: Path, name: object, document: dict[str, Any], overwrite: bool = False) -> str:
    """Keeps a document; its name. PlanError, with status 409 where there is one of this name that may not be overwritten."""
    name = checked(name)
    text = json.dumps(document, ensure_ascii=False, indent=1)
    with ONE:
        old = _found(folder, name)
        if old is not None and not overwrite:
            raise _taken(old)
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False, encoding="utf-8") as part:
            part.write(text)
        if old is not None:
            old.rename(folder / (name + SUFFIX))        # it may be spelled otherwise
        Path(part.name).replace(folder / (name + SUFFIX))
    return name


def rename(folder: Path, name: object, to: object) -> str:
    """The new name. PlanError, with status 404 or 409."""
    to = checked(to)
    with ONE:
        file, other = _file(folder, name), _found(folder, to)
        if other is not None and other != file:
            raise _taken(other)
        file.rename(folder / (to + SUFFIX))
    return to


def delete(folder: Path, name: object) -> None:
    """PlanError, with status 404."""
    with ONE:
        _file(folder, name).unlink()


def _same(name: str) -> str:
    """Equal for names that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _is_name(file: Path) -> bool:
    try:
        checked(file.name[:-len(SUFFIX)])
        return file.is_file()
    except PlanError:
        return False


def _found(folder: Path, name: str) -> Path | None:
    """The file of a name, however its letters are spelled."""
    return next((file for file in folder.glob(f"*{SUFFIX}") if _same(file.name) == _same(name + SUFFIX)), None)


def _file(folder: Path, name: object) -> Path:
    if (file := _found(folder, name := checked(name))) is None:
        remedy = f"use one of those that are here: {', '.join(names(folder)) or 'none'}"
        error = PlanError("name", name, remedy, "there is no preset {value}")
        error.status_code = 404
        raise error
    return file


def _taken(file: Path) -> PlanError:
    remedy = 'choose another name, or send "overwrite": true'
    error = PlanError("name", file.name[:-len(SUFFIX)], remedy, "there is a preset {value} already")
    error.status_code = 409
    return error
