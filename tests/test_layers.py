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


def test_nothing_of_the_extension_needs_the_trainer():
    for path in [*RING, ROOT / "scripts" / "mixdiff.py"]:
        assert not {n for n in imported(path) if n.startswith("lib_mixdiff.train")}, path


def test_the_script_is_short_and_knows_only_the_host_ring():
    script = ROOT / "scripts" / "mixdiff.py"
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 150
    assert all(n.startswith("lib_mixdiff.host") for n in imported(script) if n.startswith("lib_mixdiff"))


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
