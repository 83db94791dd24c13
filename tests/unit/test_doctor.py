import re
import tomllib
from pathlib import Path

import pytest

from anycodec.workflows import doctor, probe
from anycodec.workflows.doctor import TorchState
from anycodec.workflows.probe import JaxState

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
ALL = dict.fromkeys(doctor.REQUIRED, "1.0")
PLENTY = 2**40


def names(requirements: list[str]) -> tuple[str, ...]:
    return tuple(re.match(r"[A-Za-z0-9_.-]+", requirement).group() for requirement in requirements)


def whats(*args) -> list[str]:
    return [problem.what for problem in doctor.find_problems(*args)]


def test_required_parts_are_those_of_the_package():
    assert names(PROJECT["dependencies"]) == doctor.REQUIRED


def test_optional_parts_are_those_of_the_package():
    declared = {extra: names(needs) for extra, needs in PROJECT["optional-dependencies"].items()}
    assert {name: extra.distributions for name, extra in doctor.EXTRAS.items()} == declared


def test_a_sound_installation_has_no_problems():
    assert whats(ALL, TorchState(), (), PLENTY) == []
    assert whats(ALL, TorchState(cuda="13.0", devices=("H200",)), ("GPU 0: H200",), PLENTY) == []


@pytest.mark.parametrize(
    ("extra_versions", "torch", "gpus", "free", "words"),
    [
        ({}, TorchState(), ("GPU 0: T4",), PLENTY, "CPU build"),
        ({}, TorchState(cuda="13.0"), ("GPU 0: T4",), PLENTY, "built for CUDA 13.0"),
        ({"lightning": "2.6"}, TorchState(), (), PLENTY, "both installed"),
        ({"torchvision": "0.28"}, TorchState(), (), PLENTY, "torchvision"),
        ({}, TorchState(), (), 10**8, "0.1 GiB"),
    ],
)
def test_problems_that_leave_it_working(extra_versions, torch, gpus, free, words):
    problems = doctor.find_problems(ALL | extra_versions, torch, gpus, free)
    assert [words in problem.what for problem in problems] == [True]
    assert not problems[0].fatal


def test_torchvision_beside_a_cuda_build_is_fine():
    assert whats(ALL | {"torchvision": "0.28"}, TorchState(cuda="13.0"), (), PLENTY) == []


def test_missing_and_broken_parts_are_fatal():
    without = {name: version for name, version in ALL.items() if name != "scipy"}
    problems = doctor.find_problems(without, TorchState(failure="libtorch.so: not found"), (), PLENTY)
    assert [problem.fatal for problem in problems] == [True, True]
    assert "scipy" in problems[0].what
    assert "libtorch.so: not found" in problems[1].what


def test_a_torch_that_fails_to_import_is_reported_not_raised(monkeypatch):
    monkeypatch.setattr(doctor, "TORCH_PROBE", "raise ImportError('libcudart.so.13: cannot open')")
    assert doctor.probe_torch().failure == "ImportError: libcudart.so.13: cannot open"


def test_a_torch_that_hangs_is_reported_not_awaited(monkeypatch):
    monkeypatch.setattr(doctor, "TORCH_PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(probe, "SECONDS", 0.2)
    assert "no answer" in doctor.probe_torch().failure


def test_a_missing_required_part_exits_1_and_says_how_to_get_it(monkeypatch, capsys):
    found = doctor.installed(doctor.REQUIRED)
    monkeypatch.setattr(doctor, "probe_torch", TorchState)
    monkeypatch.setattr(doctor, "probe_jax", JaxState)
    monkeypatch.setattr(
        doctor, "installed", lambda _: {k: v for k, v in found.items() if k != "constriction"}
    )
    assert doctor.run() == 1
    printed = capsys.readouterr().out
    assert "required but not installed: constriction" in printed
    assert "pip install 'anycodec[pod5]'" in printed


def test_this_environment_works_and_secrets_stay_secret(monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "s3cr3t-key")
    assert doctor.run() == 0
    printed = capsys.readouterr().out
    assert re.search(r"WANDB_API_KEY\s+set", printed)
    assert "s3cr3t-key" not in printed
    for name in doctor.REQUIRED:
        assert re.search(rf"{re.escape(name)}\s+\d", printed), name


def test_jax_is_shown_with_its_parts_devices_and_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XLA_CACHE_DIR", str(tmp_path))
    state = JaxState(devices=("cpu cpu",))
    shown = dict(probe.jax_rows({"jax": "0.10.2", "flax": "0.12.8", "optax": "0.2.8"}, state))
    assert shown["engine jax"] == "jax 0.10.2, flax 0.12.8, optax 0.2.8, orbax-checkpoint missing"
    assert shown["JAX devices"] == "cpu cpu"
    assert str(tmp_path) in shown["compiled programs"]


@pytest.mark.parametrize(
    ("state", "gpus", "words"),
    [
        (JaxState(failure="ImportError: jaxlib"), (), "can't be imported: ImportError: jaxlib"),
        (JaxState(devices=("cpu cpu",)), ("GPU 0: T4",), "computes on the CPU"),
        (JaxState(devices=("gpu NVIDIA T4",)), ("GPU 0: T4",), None),
        (JaxState(devices=("cpu cpu",)), (), None),
    ],
)
def test_problems_of_jax(state, gpus, words):
    found = probe.jax_problem(state, gpus)
    assert (found is None) if words is None else words in found[0]
