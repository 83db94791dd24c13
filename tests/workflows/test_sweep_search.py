"""`anycodec sweep --optuna`: what is searched, and what the search keeps when it is stopped."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from anycodec.errors import ConfigError
from anycodec.workflows.sweeps.ranges import Choices, Range, parse_ranges
from anycodec.workflows.sweeps.state import load_state
from workflows.sweep_runs import at_step, give, lay_out, shown, start, sweep, table, wait_for

optuna = pytest.importorskip("optuna", reason="Optuna is not installed (extra `sweep`)")

LATENTS = ("--search", "codec.latent_channels=4..16")


@pytest.fixture(autouse=True)
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return lay_out(tmp_path, monkeypatch)


def trials() -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="sweep", storage=_storage()).trials


def _storage() -> optuna.storages.JournalStorage:
    from optuna.storages.journal import JournalFileBackend

    return optuna.storages.JournalStorage(JournalFileBackend("out/search.journal"))


def test_a_search_trains_what_it_chose() -> None:
    done = sweep(
        "tiny.yaml", "--optuna", 6, *LATENTS, "--search", "train.optimizer.lr=1e-5..1e-3:log", "--slots", 2
    )
    assert done.exit_code == 0, done.output
    rows = list(table().values())
    assert sorted(row["run"] for row in rows) == [f"trial-{number:03d}" for number in range(6)]
    # the trainer's best is 10, less a unit for each channel away from 8
    values = [10 - abs(int(row["codec.latent_channels"]) - 8) for row in rows]
    assert [float(row["best val/snr"]) for row in rows] == values == sorted(values, reverse=True)
    assert all(1e-5 <= float(row["train.optimizer.lr"]) <= 1e-3 for row in rows)
    told = {f"trial-{trial.number:03d}": trial.value for trial in trials()}
    assert told == {row["run"]: float(row["best val/snr"]) for row in rows}
    # the search can be made longer
    assert sweep("--resume", "--optuna", 7).exit_code == 0
    assert (len(table()), len(trials())) == (7, 7)


def test_a_killed_search_goes_on() -> None:
    give(**{"trial-000": "done", "trial-001": "hang done"})
    process = start("tiny.yaml", "--optuna", "4", *LATENTS)
    wait_for(lambda: at_step("trial-001", 10))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # a trial of which the sweep never came to know
    from optuna.distributions import IntDistribution

    study = optuna.load_study(study_name="sweep", storage=_storage())
    study.ask({"codec.latent_channels": IntDistribution(4, 16)})
    assert sweep("--resume").exit_code == 0
    jobs = load_state(Path("out/sweep.json")).jobs
    assert [job.trial for job in jobs] == [0, 1, 3, 4]
    assert [len(job.attempts) for job in jobs] == [1, 2, 1, 1]
    states = [trial.state.name for trial in trials()]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def test_settings_that_no_run_can_have_use_up_a_trial() -> None:
    done = sweep("tiny.yaml", "--optuna", 8, "--search", "data.window.samples=32..36")
    rows = list(table().values())
    failed = [row for row in rows if row["state"] == "failed"]
    assert len(rows) == 8
    assert {row["data.window.samples"] for row in failed} <= {"33", "34", "35"}  # the codec's strides make 4
    assert failed
    assert all("does not divide" in row["note"] for row in failed)
    assert done.exit_code == 2


def test_a_trial_that_fails_is_no_answer() -> None:
    give(**{"trial-000": "crash"})
    assert sweep("tiny.yaml", "--optuna", 2, *LATENTS, "--retries", 0).exit_code == 2
    assert [trial.state.name for trial in trials()] == ["FAIL", "COMPLETE"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optuna", "3"], "--optuna and --search go together"),
        (list(LATENTS), "--optuna and --search go together"),
        (["--optuna", "3", *LATENTS, "--grid", "seed=1,2"], "takes no --grid"),
        (["--optuna", "3", "--search", "codec.latent_chanels=4..16"], "did you mean `latent_channels`?"),
        (["--optuna", "3", "--search", "codec.latent_channels=-4..16"], "codec.latent_channels=-4"),
        (["--optuna", "3", *LATENTS, "--slurm"], "a search needs the figures of earlier runs"),
    ],
)
def test_mistakes_are_found_before_anything_starts(words: list[str], message: str) -> None:
    done = sweep("tiny.yaml", *words)
    assert done.exit_code == 2
    assert message in shown(done)
    assert not Path("out").exists()


def test_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = sweep("tiny.yaml", "--optuna", 3, *LATENTS)
    assert done.exit_code == 2
    assert "pip install 'anycodec[sweep]'" in shown(done)
    assert not Path("out").exists()


def test_ranges() -> None:
    found = parse_ranges(["a=1e-5..1e-3:log", "b=8..64", "c=8,16", "d=-1..2.5"])
    assert found == (
        Range("a", 1e-5, 1e-3, log=True, whole=False),
        Range("b", 8, 64, log=False, whole=True),
        Choices("c", ("8", "16")),
        Range("d", -1, 2.5, log=False, whole=False),
    )


@pytest.mark.parametrize(
    "text", ["a", "a=", "=1..2", "a=2..1", "a=0..1:log", "a=1..2:lin", "a=1..x", "a=5", "a=5,5", "a=nan..1"]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_ranges([text])
