import os

import pytest

from anycodec import processors as module


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of eight processors without limits."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(module, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path / "cpu.max"


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("1600000 100000", 8),
    ],
)
def test_a_container_has_what_its_quota_leaves(machine, quota, expected):
    machine.write_text(quota + "\n")
    assert module.processors() == expected


def test_a_process_that_is_bound_to_three_processors_uses_three(machine, monkeypatch):
    assert module.processors() == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 4, 5})
    assert module.processors() == 3


@pytest.mark.parametrize(("share", "expected"), [(1, 8), (3, 2), (8, 1), (20, 1)])
def test_processes_side_by_side_divide_the_processors(machine, share, expected):
    assert module.threads(share) == expected


def test_the_usual_variable_decides_the_threads(machine, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert module.threads(4) == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert module.threads(4) == 2
