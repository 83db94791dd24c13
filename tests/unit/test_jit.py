"""Compiled functions: the same numbers, kept where they can be, and never stale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from anycodec import jit

SCRIPT = """
import sys
from pathlib import Path
from anycodec import jit
jit._PACKAGE = Path(sys.argv[1])
from anycodec.jit import compiled
sys.path.insert(0, sys.argv[1])
from bitstream.caller import twice
print(twice(20), sum(twice.stats.cache_hits.values()))
"""


def run(package: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(package)], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


def test_a_change_of_what_is_called_is_seen(tmp_path: Path) -> None:
    """The caller's file stays as it is, its mark of time too."""
    folder = tmp_path / "bitstream"
    folder.mkdir()
    (folder / "__init__.py").touch()
    callee = "from anycodec.jit import compiled\n\n@compiled\ndef add(x):\n    return x + {}\n"
    (folder / "callee.py").write_text(callee.format(1))
    (folder / "caller.py").write_text(
        "from anycodec.jit import compiled\nfrom bitstream.callee import add\n\n"
        "@compiled\ndef twice(x):\n    return 2 * add(x)\n"
    )
    assert run(tmp_path) == "42 0"
    assert run(tmp_path) == "42 1", "from disk"
    (folder / "callee.py").write_text(callee.format(2))
    assert run(tmp_path) == "44 0"


def test_no_folder_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "_folder", lambda: None)

    @jit.compiled
    def triple(x: int) -> int:
        return 3 * x

    assert triple(5) == 15


def test_numbas_own_folder_is_left_alone() -> None:
    settings: Any = numba.config
    before = settings.CACHE_DIR
    jit.compiled(lambda x: x + 1)
    assert before == settings.CACHE_DIR


def test_exact_sums_are_exact() -> None:
    """Whole numbers of float64 with a sum near 2^53, in whatever order."""

    @jit.compiled_exact_sums
    def total(x: np.ndarray) -> float:
        s = 0.0
        for i in range(len(x)):
            s += x[i]
        return s

    whole = np.random.default_rng(0).integers(-(2**42), 2**42, 2000)
    assert total(whole.astype(np.float64)) == float(whole.sum())
