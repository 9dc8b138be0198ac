"""Three rings, one direction: core <- lib_mixdiff/host <- scripts; the embedded host knows nothing of the library."""
from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOST = {"modules", "gradio"}


def imported(path: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


CORE = list((ROOT / "lib_mixdiff").glob("*.py"))
RING = list((ROOT / "lib_mixdiff" / "host").glob("*.py"))
SCRIPTS = list((ROOT / "scripts").glob("*.py"))
TRAIN = list((ROOT / "lib_mixdiff" / "train").glob("*.py"))


@pytest.mark.parametrize("path", CORE, ids=lambda p: p.name)
def test_the_core_knows_no_host(path):
    assert not roots(path) & (HOST | {"minihost", "bench"})
    assert not {n for n in imported(path) if n.startswith(("lib_mixdiff.host", "lib_mixdiff.train"))}
    assert roots(path) <= {"lib_mixdiff", "torch", "numpy", "PIL", "safetensors", "__future__"} | sys.stdlib_module_names


@pytest.mark.parametrize("path", RING, ids=lambda p: p.name)
def test_the_host_ring_knows_no_page(path):
    assert not roots(path) & {"gradio", "minihost", "bench", "scripts"}


@pytest.mark.parametrize("path", TRAIN, ids=lambda p: p.name)
def test_the_trainer_is_a_program_of_its_own(path):
    libraries = {"torch", "numpy", "PIL", "safetensors", "accelerate", "transformers", "yaml", "ldm"}
    assert roots(path) <= {"lib_mixdiff", "__future__"} | libraries | sys.stdlib_module_names
    assert not {n for n in imported(path) if n.startswith("lib_mixdiff.host")}


def test_of_the_trainer_the_extension_knows_what_it_is_told():
    """Its configuration and the pictures, which need nothing that the WebUI may lack."""
    told = {f"lib_mixdiff.train.{name}" for name in ("config", "folder", "faults", "atomic")}
    for path in [*RING, *SCRIPTS]:
        known = {n for n in imported(path) if n.startswith("lib_mixdiff.train")}
        assert all(n in told or n.rpartition(".")[0] in told for n in known), path
    for name in told:
        libraries = roots(ROOT / f"{name.replace('.', '/')}.py")
        assert libraries <= {"lib_mixdiff", "numpy", "PIL", "yaml", "__future__"} | sys.stdlib_module_names, name


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_scripts_are_short_and_know_no_model(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 150
    words = {f"lib_mixdiff.{name}" for name in ("errors", "fields", "nested")}
    ours = {n for n in imported(path) if n.startswith("lib_mixdiff.") and not n.startswith("lib_mixdiff.host")}
    assert all(n in words or n.rpartition(".")[0] in words for n in ours)


def test_the_embedded_host_never_imports_the_library():
    for path in (ROOT / "minihost").rglob("*.py"):
        assert "lib_mixdiff" not in roots(path), path


def test_these_checks_can_fail(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from modules import shared\n    import lib_mixdiff.host.run\n")
    assert roots(bad) == {"modules", "lib_mixdiff"} and "lib_mixdiff.host.run" in imported(bad)


def test_one_version():
    import lib_mixdiff
    assert f'version = "{lib_mixdiff.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
