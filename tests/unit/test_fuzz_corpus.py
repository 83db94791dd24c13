"""What fuzzing reached and found (scripts/fuzz.py): readers refuse it in their own words, or read it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CORPUS = sorted((ROOT / "tests" / "golden" / "fuzz").iterdir())


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "scripts" / "fuzz.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_is_a_corpus() -> None:
    assert sum(path.stat().st_size for path in CORPUS) < 300_000
    assert len(CORPUS) > 100


def test_the_corpus_is_refused_or_read(fuzz: ModuleType) -> None:
    for path in CORPUS:
        fuzz.check(path.read_bytes())


def test_files_survive_the_way_into_an_input_and_back(fuzz: ModuleType) -> None:
    for path in (ROOT / "tests" / "golden" / "acz_v1").glob("*/*.acz"):
        assert fuzz.whole(fuzz.stripped(path.read_bytes())) == path.read_bytes()
