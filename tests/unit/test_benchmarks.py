"""The benchmarks still run: `--help`, and `--quick` on tiny inputs. Their figures are not looked at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = (
    "adversarial",
    "alignment",
    "augmentation_levers",
    "bases_within_bounds",
    "collapse",
    "configs",
    "devices",
    "engines",
    "entropy",
    "generate",
    "loader",
    "memory",
    "pod5_reading",
    "quantizers",
    "rate_distortion",
    "rate_distortion_pictures",
    "real_files",
    "scale",
    "startup",
    "tokens",
    "train_step",
)
SHARED = {"classics_lossless", "classics_series", "common", "picture_coders", "restored_files"}
"""What scripts import."""
NEEDED = {"bases_within_bounds": ("edlib",)}
"""Libraries of extras that the tests' environment lacks."""


def run(name, *arguments):
    command = [sys.executable, str(FOLDER / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_script_is_listed():
    modules = {path.stem for path in FOLDER.glob("*.py")} - SHARED
    assert modules == set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(name):
    finished = run(name, "--help")
    assert finished.returncode == 0, finished.stderr
    assert "--quick" in finished.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_quick_writes_results_with_the_machine(name, tmp_path):
    for library in NEEDED.get(name, ()):
        pytest.importorskip(library, reason=f"{name} needs {library}: pip install 'anycodec[basecalls]'")
    out = tmp_path / "result.json"
    finished = run(name, "--quick", "--out", out)
    assert finished.returncode == 0, finished.stderr[-2000:]
    result = json.loads(out.read_text())
    assert result["benchmark"] == name
    assert result["quick"] is True
    assert result["machine"]["cores"] >= 1
    assert result["machine"]["versions"]["anycodec"]
