"""Presets: what is saved comes back, and no name leaves the folder, on any file system."""
from __future__ import annotations

import json

import pytest

from lib_mixdiff import presets
from lib_mixdiff.errors import PlanError

DOCUMENT = {"plan": {"regions": [{"prompt": "é “a”\n"}]}, "images": {}}
BAD = ["", " ", ".", "..", "../up", "..\\up", "/etc/passwd", "C:\\x", "C:x", "a/b", "a\\b", "a\0b", "a\nb", "a\u2028b", "\ud800", ".hidden", "end.", "end ",
       " start", "a:b", "a*", "a?", 'a"', "<a>", "a|b", "CON", "con", "nul.txt", "COM1", "lpt9.a.b", "COM¹", "aux ", 81 * "a", 61 * "𝄞", None, 3, ["a"], {}]
GOOD = ["a", "three columns", "Sonnenuntergang über Köln", "日本語", "a.b.c", "co", "COM10", "console", "100 %", "~$#@!'`()[]{}&;+=,^-_", 80 * "a", "👩‍🚀"]


def files(folder) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", BAD)
def test_no_name_leaves_the_folder(tmp_path, name):
    folder = tmp_path / "deep" / "presets"
    presets.save(folder, "kept", DOCUMENT)
    (tmp_path / "deep" / "up.json").write_text("{}")
    before = files(tmp_path)
    for act in (lambda: presets.save(folder, name, DOCUMENT), lambda: presets.save(folder, name, DOCUMENT, overwrite=True),
                lambda: presets.load(folder, name), lambda: presets.rename(folder, name, "x"), lambda: presets.rename(folder, "kept", name),
                lambda: presets.delete(folder, name)):
        with pytest.raises(PlanError, match=r"^name: ") as caught:
            act()
        assert caught.value.status_code == 422
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", GOOD)
def test_what_is_saved_comes_back(tmp_path, name):
    assert presets.save(tmp_path, name, DOCUMENT) == name
    assert presets.load(tmp_path, name) == DOCUMENT and presets.names(tmp_path) == [name]
    assert len(files(tmp_path)) == 1
    presets.delete(tmp_path, name)
    assert presets.names(tmp_path) == [] and files(tmp_path) == set()


@pytest.mark.parametrize("one, other", [("Sunset", "sunset"), ("STRASSE", "straße"), ("é", "e\u0301"), ("É", "e\u0301"), ("Ω", "\u2126")])
def test_names_that_some_file_system_takes_for_one_are_one(tmp_path, one, other):
    presets.save(tmp_path, one, DOCUMENT)
    with pytest.raises(PlanError, match="already") as caught:
        presets.save(tmp_path, other, {"plan": {}})
    assert caught.value.status_code == 409 and presets.load(tmp_path, other) == DOCUMENT
    presets.save(tmp_path, other, {"plan": {}}, overwrite=True)
    assert presets.load(tmp_path, one) == {"plan": {}} and presets.names(tmp_path) == [presets.checked(other)]
    presets.save(tmp_path, "third", DOCUMENT)
    with pytest.raises(PlanError, match="already"):
        presets.rename(tmp_path, "third", one)
    assert presets.rename(tmp_path, other, one) == presets.checked(one), "only spelled otherwise"
    assert set(presets.names(tmp_path)) == {presets.checked(one), "third"}


def test_what_is_not_there(tmp_path):
    for act in (presets.load, presets.delete):
        with pytest.raises(PlanError, match="there is no preset") as caught:
            act(tmp_path / "nowhere", "a")
        assert caught.value.status_code == 404
    assert presets.names(tmp_path / "nowhere") == [] and files(tmp_path) == set()


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    presets.save(tmp_path, "b", DOCUMENT)
    for name in ("con.json", "notes.txt", ".json", "a.json.part"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "bare.json").write_text(json.dumps({"regions": []}), encoding="utf-8-sig")
    assert presets.names(tmp_path) == ["b", "bare"] and presets.load(tmp_path, "bare") == {"regions": []}
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(PlanError, match="not JSON"):
        presets.load(tmp_path, "broken")


def test_a_failed_save_leaves_the_old_one(tmp_path):
    presets.save(tmp_path, "a", DOCUMENT)
    with pytest.raises(TypeError):
        presets.save(tmp_path, "a", {"plan": object()}, overwrite=True)
    assert presets.load(tmp_path, "a") == DOCUMENT and files(tmp_path) == {"a.json"}
