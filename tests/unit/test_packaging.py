import os
import re
import shutil
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONSTRAINED_EXTRAS = ("pod5", "video", "track", "generate", "ray", "sweep")


def normalised(requirement: str) -> str:
    """The name alone, as PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement).group()).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    matches = [re.match(r"([\w.-]+)==([^\s;]+)", line) for line in lines if line and not line.startswith("#")]
    return {normalised(match[1]): match[2] for match in matches}


def test_constraints_pin_every_dependency():
    project = PYPROJECT["project"]
    extras = (project["optional-dependencies"][extra] for extra in CONSTRAINED_EXTRAS)
    listed = chain(project["dependencies"], *extras, *PYPROJECT["dependency-groups"].values())
    wanted = (entry for entry in listed if isinstance(entry, str))  # not {include-group = ...}
    assert [name for name in map(normalised, wanted) if name not in pins()] == []


def test_constraints_name_no_single_build_of_torch():
    assert pins()["torch"] == "2.13.0"


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of the files that the set-up script reads, so that a test can't touch this checkout."""
    for name in ("pyproject.toml", "constraints.txt", "scripts/setup.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def set_up(checkout: Path, python: str) -> subprocess.CompletedProcess[str]:
    command = [checkout / "scripts" / "setup.sh", "test"]
    environment = os.environ | {"PYTHON": python}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("version", ["Python 3.10.13", "Python 2.7.18"])
def test_an_old_python_is_refused_by_name(checkout, version):
    old = checkout / "old-python"
    old.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && echo '{version}' || exit 1\n")
    old.chmod(0o755)
    result = set_up(checkout, str(old))
    assert result.returncode == 1
    assert "needs Python 3.11 or newer" in result.stderr
    assert version in result.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_that_is_not_there_is_refused_by_name(checkout):
    result = set_up(checkout, "python-of-nowhere")
    assert result.returncode == 1
    assert "python-of-nowhere" in result.stderr
