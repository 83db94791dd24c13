"""`anycodec sweep`: the runs that are planned, and what becomes of them."""

from __future__ import annotations

import csv
import json
import re
import signal
from pathlib import Path

import pytest
import yaml

from anycodec.checkpoint import RunDirectory
from anycodec.workflows.sweeps.grid import combinations, parse_axes
from anycodec.workflows.sweeps.plan import Wanted, common_metric, plan
from anycodec.workflows.sweeps.state import load_state
from workflows.sweep_runs import (
    CONFIG,
    anycodec,
    at_step,
    give,
    lay_out,
    shown,
    start,
    sweep,
    table,
    wait_for,
)

SIX = ("--grid", "codec.quantizer.type=vq,simvq,fsq", "--grid", "train.optimizer.lr=1e-3,3e-4")
NAMES = [f"tiny-{type_}-lr_{lr}" for type_ in ("vq", "simvq", "fsq") for lr in ("1e-3", "3e-4")]


@pytest.fixture(autouse=True)
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return lay_out(tmp_path, monkeypatch)


# --- six runs on two slots ---------------------------------------------------------------------------


def test_six_runs_of_which_one_crashes_and_one_is_killed(working: Path) -> None:
    give(**{NAMES[1]: "crash", NAMES[2]: "die done"})
    done = sweep("tiny.yaml", *SIX, "--slots", 2)
    assert done.exit_code == 2, done.output
    rows = table()
    assert list(rows)[-1] == NAMES[1]  # those that are done come first
    assert sorted(rows) == sorted(NAMES)
    for name, row in rows.items():
        crashed = name == NAMES[1]
        assert (row["state"], row["attempts"]) == (("failed", "2") if crashed else ("done", row["attempts"]))
        # the trainer's best is 10, at 0.8 of 20 steps
        assert (row["best val/snr"], row["at step"]) == (("", "") if crashed else ("10", "16"))
    assert [rows[name]["attempts"] for name in NAMES] == ["1", "2", "2", "1", "1", "1"]
    assert rows[NAMES[1]]["note"] == "it does not work"
    assert rows[NAMES[2]]["codec.quantizer.type"] == "simvq"
    attempts = load_state(Path("out/sweep.json")).jobs[2].attempts
    assert [attempt.how for attempt in attempts] == ["SIGKILL", "exit code 0"]
    assert "failed after" in shown(done)
    assert "(SIGKILL), it starts again" in shown(done)
    log = Path(f"out/logs/{NAMES[2]}.log").read_text()
    assert log.count("anycodec train") == 2
    assert log.count("--resume") == 1
    assert Path("out/results.md").read_text().count("\n") == 8
    assert Path("out/results.png").read_bytes().startswith(b"\x89PNG")
    give(**{NAMES[1]: "done"})
    before = Path(f"out/logs/{NAMES[0]}.log").read_bytes()
    assert sweep("--resume", "--slots", 2).exit_code == 0
    assert {row["state"] for row in table().values()} == {"done"}
    assert Path(f"out/logs/{NAMES[0]}.log").read_bytes() == before
    assert "started" not in shown(sweep("--resume"))


@pytest.mark.parametrize("retries", [0, 2])
def test_runs_are_retried_as_often_as_asked(retries: int) -> None:
    give(tiny="crash")
    assert sweep("tiny.yaml", "--retries", retries).exit_code == 2
    assert table()["tiny"]["attempts"] == str(retries + 1)


def test_slots_share_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anycodec.workflows.sweep.processors", lambda: 8)
    assert sweep("tiny.yaml", "--grid", "train.threads=null,5", "--slots", 2).exit_code == 0
    logs = [Path(f"out/logs/tiny-threads_{value}.log").read_text() for value in ("null", "5")]
    assert "cpu 0: CUDA_VISIBLE_DEVICES= anycodec" in logs[0]
    assert "train.threads=4" in logs[0]  # 8 processors, 2 slots
    assert "train.threads" not in logs[1]  # its own


def test_gpus_are_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anycodec.workflows.sweep.gpus", lambda: (0, 1, 2))
    grid = ("--grid", "seed=0,1,2,3")
    assert sweep("tiny.yaml", *grid, "--gpus", "0,2", "--per-gpu", 2).exit_code == 0
    logs = [Path(f"out/logs/tiny-seed_{seed}.log").read_text() for seed in range(4)]
    found = [re.search(r", (.*): CUDA_VISIBLE_DEVICES=(\d) .*FRACTION=(\S+)", log) for log in logs]
    assert [match.groups() for match in found if match] == [
        ("gpu 0.0", "0", "0.45"), ("gpu 2.0", "2", "0.45"), ("gpu 0.1", "0", "0.45"), ("gpu 2.1", "2", "0.45")
    ]  # fmt: skip


# --- stopping ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_sweep_goes_on(number: signal.Signals, code: int) -> None:
    give(**dict.fromkeys(NAMES[:2], "hang done"))
    process = start("tiny.yaml", *SIX, "--slots", "2")
    wait_for(lambda: all(at_step(name, 10) for name in NAMES[:2]))
    process.send_signal(number)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == code, output
    assert "stopping: 2 runs write their checkpoints" in output
    assert "next: anycodec sweep --resume --out out" in output
    jobs = load_state(Path("out/sweep.json")).jobs
    assert {job.state for job in jobs} == {"waiting"}
    assert [[attempt.how for attempt in job.attempts] for job in jobs] == [["stopped"]] * 2 + [[]] * 4
    assert sweep("--resume", "--slots", 2).exit_code == 0
    assert [table()[name]["attempts"] for name in NAMES] == ["2", "2", "1", "1", "1", "1"]
    with Path(f"out/runs/{NAMES[0]}/metrics.csv").open(newline="") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(1, 21))


def test_runs_end_with_a_killed_sweep_which_goes_on(working: Path) -> None:
    give(**dict.fromkeys(NAMES[:2], "hang done"))
    process = start("tiny.yaml", *SIX, "--slots", "2")
    wait_for(lambda: all(at_step(name, 10) for name in NAMES[:2]))
    process.kill()
    process.communicate()
    # the runs let go of their logs when they have ended, and the next attempts wait for that
    assert sweep("--resume", "--slots", 2).exit_code == 0
    jobs = load_state(Path("out/sweep.json")).jobs
    assert [[attempt.how for attempt in job.attempts] for job in jobs[:2]] == [
        ["interrupted", "exit code 0"]
    ] * 2
    assert {row["state"] for row in table().values()} == {"done"}


def test_a_second_interrupt_ends_at_once() -> None:
    give(tiny="stuck")
    process = start("tiny.yaml")
    wait_for(lambda: at_step("tiny", 10))
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    while "stopping: 1 run" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=240)
    assert process.returncode == 130
    (job,) = load_state(Path("out/sweep.json")).jobs
    assert (job.state, job.attempts[0].how) == ("waiting", "SIGKILL")


def test_a_run_that_ended_while_the_sweep_was_dead_is_done() -> None:
    assert sweep("tiny.yaml").exit_code == 0
    state = json.loads(Path("out/sweep.json").read_text())
    state["jobs"][0] |= {"state": "running", "attempts": [{"slot": "cpu 0", "began": 0.0}]}
    Path("out/sweep.json").write_text(json.dumps(state))
    done = sweep("--resume")
    assert done.exit_code == 0
    assert "started" not in shown(done)
    assert table()["tiny"]["state"] == "done"


# --- what is planned ---------------------------------------------------------------------------------


def test_a_folder_of_configurations(working: Path) -> None:
    folder = working / "several"
    folder.mkdir()
    (folder / "b.yaml").write_text(CONFIG)
    (folder / "a.json").write_text(json.dumps(yaml.safe_load(CONFIG)))
    (folder / "notes.txt").write_text("not a configuration")
    assert sweep("several", "tiny.yaml", "train.steps=7").exit_code == 0
    assert sorted(table()) == ["a", "b", "tiny"]
    assert RunDirectory(working / "out" / "runs" / "a").spec().name == "a"
    assert {row["steps"] for row in table().values()} == {"7"}


def test_configurations_stay_as_they_were_planned(working: Path) -> None:
    give(tiny="crash")
    sweep("tiny.yaml", "--retries", 0)
    (working / "tiny.yaml").write_text("gone: wrong")
    give(tiny="done")
    assert sweep("--resume").exit_code == 0


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a=1,2"], [{"a": "1"}, {"a": "2"}]),
        (["a=[1,2],[3]"], [{"a": "[1,2]"}, {"a": "[3]"}]),
        (["a=1,2", "b.c=x"], [{"a": "1", "b.c": "x"}, {"a": "2", "b.c": "x"}]),
        ([], [{}]),
    ],
)
def test_grids(texts: list[str], expected: list[dict[str, str]]) -> None:
    assert combinations(parse_axes(texts)) == expected


# --- bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tiny.yaml", "--gpus", "0"], "this machine has no GPU 0"),
        (["tiny.yaml", "--gpus", "first"], "'first' are no GPUs"),
        (["tiny.yaml", "--gpus", "0", "--slots", "2"], "--gpus and --slots exclude each other"),
        (["tiny.yaml", "codec.latent_chanels=3"], "did you mean `latent_channels`?"),
        (["tiny.yaml", "--grid", "train.lr=1e-4,3e-4"], "`train.optimizer.lr`"),
        (["tiny.yaml", "--grid", "train.steps"], "a grid has the form KEY=VALUE,VALUE"),
        (["tiny.yaml", "--grid", "train.steps=1,1"], "a value of train.steps is there twice"),
        (["tiny.yaml", "--metric", "val/sn"], "did you mean `val/snr`?"),
        (["tiny.yaml", "--grid", "train.best.metric=val/snr,val/l1"], "with --metric"),
        (["tiny.yaml", "train.device=cuda"], "train.device is cuda, the sweep runs on processors"),
        (["empty"], "the folder holds no configuration"),
        (["nothing.yaml"], "nothing.yaml"),
        (["tiny.yaml", "--slurm", "--gpus", "0"], "each run asks for one GPU, whichever it is"),
        ([], "no configuration is given"),
        (["--resume"], "holds no sweep"),
    ],
)
def test_mistakes_are_found_before_anything_starts(
    working: Path, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anycodec.workflows.sweep.gpus", lambda: ())
    (working / "empty").mkdir()
    done = sweep(*words)
    assert done.exit_code == 2
    assert message in shown(done)
    assert not Path("out").exists()


def test_all_mistakes_are_told_at_once(working: Path) -> None:
    (working / "wrong.yaml").write_text(CONFIG.replace("steps: 20", "steps: many"))
    done = sweep("tiny.yaml", "wrong.yaml", "--grid", "codec.quantizer.codebook_size=16,-1")
    text = shown(done)
    assert done.exit_code == 2
    assert "2 mistakes" in text
    assert "wrong.yaml:7 (run wrong-codebook_size_16 and 1 more)" in text
    assert "codebook_size=-1' (run tiny-codebook_size_-1 and 1 more)" in text


def test_another_sweep_is_not_continued(working: Path) -> None:
    assert sweep("tiny.yaml").exit_code == 0
    assert "already holds a sweep" in shown(sweep("tiny.yaml"))
    other = sweep("tiny.yaml", "train.steps=7", "--resume")
    assert other.exit_code == 2
    assert "the folder holds another sweep: 1 runs then, 1 now; new, gone or changed: tiny" in shown(other)
    assert sweep("tiny.yaml", "--resume").exit_code == 0
    (working / "full").mkdir()
    (working / "full" / "mine").touch()
    assert "not empty" in shown(anycodec("sweep", "tiny.yaml", "--out", "full"))


@pytest.mark.parametrize("damage", ["", "{", '{"version": 2}', "[]", '{"jobs": [{"name": "../x"}]}'])
def test_a_damaged_state_is_refused(damage: str) -> None:
    Path("out").mkdir()
    Path("out/sweep.json").write_text(damage)
    done = sweep("--resume")
    assert done.exit_code == 2
    assert "damaged" in shown(done)


# --- other kinds of run ------------------------------------------------------------------------------


def test_feature_networks_and_generators_are_ranked_by_their_own_figures(working: Path) -> None:
    data = "data: {type: array, layout: tc, root: data, window: {samples: 32}}\ntrain: {steps: 20}\n"
    Path("plain.yaml").write_text(f"features: {{objective: {{type: vicreg}}}}\n{data}")
    Path("classes.yaml").write_text(f"features: {{}}\n{data}")
    for config, metric in (("plain.yaml", "val/loss"), ("classes.yaml", "val/accuracy")):
        variants = plan([Path(config)], [], parse_axes(["train.optimizer.lr=1e-3,1e-4"]), Wanted(None, False))
        assert [variant.settings["train.optimizer.lr"] for variant in variants] == ["1e-3", "1e-4"]
        assert common_metric(variants) == metric
    refused = sweep("plain.yaml", "--metric", "val/snr")
    assert "a validation of this training has no val/snr" in shown(refused)
    assert "use val/loss" in shown(refused)


def test_what_is_several_trainings_is_refused(working: Path) -> None:
    Path("study.yaml").write_text("augmentation: {}\ndata: {type: image, root: data}\n")
    refused = sweep("study.yaml")
    assert refused.exit_code == 2
    assert "configuration" in shown(refused)
