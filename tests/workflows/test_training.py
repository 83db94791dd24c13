"""Training as a whole: interruption and resumption, stop signals, refusals."""

from __future__ import annotations

import csv
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anycodec.checkpoint import RunDirectory
from anycodec.config.loader import load_spec
from anycodec.errors import ConfigError, ResourceError, RunError, UserError
from anycodec.workflows import samples
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.train import run as train

CONFIG = """\
name: tiny
data: {type: pod5, window: {samples: 96}, workers: 1}
codec:
  type: simvqgan
  base_channels: 8
  stem_stride: 4
  channels: [8]
  strides: [2]
  latent_channels: 8
  norm_groups: 4
  patch_skip: true
  quantizer: {type: ema, codebook_size: 16, restart_after: 5, kmeans_after: 3}
train:
  steps: 60
  batch_size: 4
  accumulate: 2
  ema: 0.9
  val_every: 10
  val_batches: 2
  checkpoint_every: 7
  log_every: 1
  threads: 1
  schedule: {type: cosine, warmup: 10}
"""


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reads") / "data"
    samples.run("nanopore", folder, seed=1, size="small")
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def command(config: Path, reads: Path) -> list[str]:
    return [sys.executable, "-m", "anycodec", "train", str(config), f"data.root={reads}", "--quiet"]


def start(command: list[str], run: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command, "--out", str(run), *more],
        stderr=subprocess.DEVNULL,
        text=True,
        env=dict(os.environ),
        start_new_session=True,
    )


def rows(run: Path) -> list[dict[str, str]]:
    with RunDirectory(run).metrics.open(newline="") as file:
        return list(csv.DictReader(file))


def wait_for_step(process: subprocess.Popen[str], run: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        metrics = RunDirectory(run).metrics
        written = rows(run) if metrics.is_file() else []
        if written and written[-1]["step"] and int(written[-1]["step"]) >= step:
            return
        time.sleep(0.02)
    raise AssertionError(f"step {step} not reached")


def flat(tree: Any, name: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {k: v for key, value in tree.items() for k, v in flat(value, f"{name}.{key}").items()}
    if isinstance(tree, list | tuple):
        return {k: v for i, value in enumerate(tree) for k, v in flat(value, f"{name}[{i}]").items()}
    return {name: tree}


def assert_equal_runs(first: Path, second: Path) -> None:
    for name in ("weights.safetensors", "statistics.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    one, other = (flat(torch.load(x / "resume" / "state.pt", weights_only=True)) for x in (first, second))
    assert one.keys() == other.keys()
    for name, value in one.items():
        equal = torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        assert equal, name
    untimed = [
        [{k: v for k, v in row.items() if k != "samples_per_second"} for row in rows(run)]
        for run in (first, second)
    ]
    assert untimed[0] == untimed[1]


@pytest.fixture(scope="module")
def whole(reads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted, without worker processes."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.yaml").write_text(CONFIG)
    train(folder / "tiny.yaml", [f"data.root={reads}", "data.workers=0"], folder / "run", False, True)
    return folder / "run"


def resume(run: Path) -> None:
    train(run / "config.yaml", ["data.workers=0"], run, True, True)


def test_a_killed_run_resumes_to_the_same_weights(command: list[str], whole: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    killed = start(command, cut)
    wait_for_step(killed, cut, 25)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not RunDirectory(cut).statistics.exists()
    with pytest.raises(RunError, match=r"no statistics.safetensors yet[\s\S]*--resume"):
        Pipeline.open(cut)
    resume(cut)
    assert_equal_runs(whole, cut)


# Slurm and terminals signal all processes of a job: the workers must not die before the trainer has saved
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_signal_leaves_a_checkpoint_that_resumes_to_the_same_weights(
    command: list[str], whole: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    run = tmp_path / "run"
    process = start(command, run)
    wait_for_step(process, run, 5)
    os.killpg(process.pid, number)
    assert process.wait(timeout=60) == code
    state = torch.load(run / "resume" / "state.pt", weights_only=True)
    assert state["step"] == int(rows(run)[-1]["step"]) < 60
    resume(run)
    assert_equal_runs(whole, run)


def test_the_rate_follows_the_step_after_a_resumption(whole: Path) -> None:
    """Every row of `whole` equals that of the resumed runs above; here its rates against the formula."""
    rate = {int(r["step"]): float(r["lr"]) for r in rows(whole) if r["lr"]}
    # logged after the scheduler moved on: the row of step s holds the rate of update s + 1
    for step in range(1, 60):
        progress = (step - 10) / (59 - 10)
        cosine = 1e-6 + (3e-4 - 1e-6) * 0.5 * (1 + math.cos(math.pi * progress))
        expected = 3e-4 * (step + 1) / 10 if step < 10 else cosine
        assert rate[step] == pytest.approx(expected, rel=1e-4), step


def test_the_best_weights_are_kept(config: Path, reads: Path, tmp_path: Path) -> None:
    overrides = [f"data.root={reads}", "train.best.metric=val/mse", "data.workers=0"]
    train(config, overrides, tmp_path / "run", False, True)
    values = [float(r["val/mse"]) for r in rows(tmp_path / "run") if r["val/mse"]]
    manifest = RunDirectory(tmp_path / "run").read_manifest()
    assert len(values) == 6
    assert manifest["training"]["best"]["value"] == pytest.approx(min(values), rel=1e-4)
    assert values[-1] < values[0]


def test_the_last_weights_are_kept_on_request(config: Path, reads: Path, tmp_path: Path) -> None:
    """A learning rate at which the last validation is far from the best one."""
    overrides = [f"data.root={reads}", "train.best.metric=step", "train.optimizer.lr=10", "data.workers=0"]
    train(config, [*overrides, "train.clip=null"], tmp_path / "run", False, True)
    losses = [float(r["val/loss"]) for r in rows(tmp_path / "run") if r["val/loss"]]
    best = RunDirectory(tmp_path / "run").read_manifest()["training"]["best"]
    assert losses[-1] > min(losses)
    assert best["value"] == best["step"] == 60


def test_early_stop(config: Path, reads: Path, tmp_path: Path) -> None:
    overrides = [f"data.root={reads}", "train.early_stop.patience=1", "train.early_stop.min_delta=1000"]
    train(config, [*overrides, "data.workers=0"], tmp_path / "run", False, True)
    assert RunDirectory(tmp_path / "run").read_manifest()["training"]["steps"] == 20


def test_a_second_run_into_a_folder_is_refused(config: Path, reads: Path, tmp_path: Path) -> None:
    overrides = [f"data.root={reads}", "train.steps=2", "data.workers=0"]
    train(config, overrides, tmp_path / "run", False, True)
    before = (tmp_path / "run" / "weights.safetensors").read_bytes()
    with pytest.raises(RunError, match="already holds a run"):
        train(config, overrides, tmp_path / "run", False, True)
    with pytest.raises(RunError, match=r"codec.latent_channels was 8, now 9"):
        train(config, [*overrides, "codec.latent_channels=9"], tmp_path / "run", True, True)
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["train.best.metric=val/sharpness"],
            r"best.metric`: there is no metric 'val/sharpness'[\s\S]*val/snr",
        ),
        (["train.best.metric=val/sn"], "did you mean `val/snr`"),
        (["train.keep_best=[val/l1, val/l3]"], r"keep_best`: [\s\S]*'val/l3'[\s\S]*`val/l1`"),
        (
            ["train.keep_best=[val/l1, val/snr, val/l1]"],
            r"keep_best`: [\s\S]*val/l1, val/snr are kept already",
        ),
        (["train.best.metric=val/ssim"], "'val/ssim': it needs pictures"),
        (["train.keep_best=[val/lpips_alex]"], "'val/lpips_alex': lpips is for pictures and video"),
        (["train.keep_best=[val/codes_used_0]"], "no metric 'val/codes_used_0'"),
        (["codec.quantizer={type: kl}", "train.keep_best=[val/perplexity]"], "it has no tokens"),
        (["train.best={metric: val/loss, mode: max}"], r"best.mode`: max would keep the worst[\s\S]*use min"),
    ],
)
def test_metrics_that_cannot_decide_are_refused_before_data_is_opened(
    config: Path, reads: Path, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_spec(config, [f"data.root={reads}", *overrides])


def test_half_precision_needs_a_gpu(config: Path, reads: Path, tmp_path: Path) -> None:
    overrides = [f"data.root={reads}", "train.precision=fp16", "train.device=cpu"]
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        train(config, overrides, tmp_path / "r", False, True)


def test_divergence_names_the_term(config: Path, reads: Path, tmp_path: Path) -> None:
    overrides = [f"data.root={reads}", "data.workers=0", "train.clip=null", "train.ema=null"]
    wild = [*overrides, "train.steps=400", "train.optimizer.lr=1e30", "train.schedule.type=constant"]
    with pytest.raises(RunError, match=r"diverged at step \d+: .*mse"):
        train(config, wild, tmp_path / "run", False, True)


def test_a_batch_that_does_not_fit_says_what_to_lower(
    config: Path, reads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anycodec.torch.codecs.simvqgan import Encoder1d

    def refuse(self: Encoder1d, x: torch.Tensor) -> torch.Tensor:
        return torch.empty(2**60, dtype=torch.float32)  # what the allocator says of a real batch

    monkeypatch.setattr(Encoder1d, "forward", refuse)
    with pytest.raises(ResourceError, match=r"out of memory[\s\S]*train.batch_size 4"):
        train(config, [f"data.root={reads}", "data.workers=0"], tmp_path / "run", False, True)


def test_a_codec_that_does_not_fit_says_what_to_lower(config: Path, reads: Path, tmp_path: Path) -> None:
    overrides = [f"data.root={reads}", "data.workers=0", f"codec.base_channels={2**44}"]
    with pytest.raises(ResourceError, match=r"out of memory[\s\S]*codec"):
        train(config, overrides, tmp_path / "run", False, True)


def test_early_stop_keeps_the_best_and_ends_for_good(config: Path, reads: Path, tmp_path: Path) -> None:
    """Small gains end the training but are kept all the same; --resume trains no further."""
    overrides = [f"data.root={reads}", "data.workers=0", "train.best.metric=val/mse", "train.best.mode=min"]
    stopping = [*overrides, "train.early_stop.patience=2", "train.early_stop.min_delta=1000"]
    train(config, stopping, tmp_path / "run", False, True)
    values = [float(r["val/mse"]) for r in rows(tmp_path / "run") if r["val/mse"]]
    best = RunDirectory(tmp_path / "run").read_manifest()["training"]["best"]["value"]
    assert len(values) == 3
    assert best == pytest.approx(min(values), rel=1e-4)
    before = (tmp_path / "run" / "weights.safetensors").read_bytes()
    train(config, stopping, tmp_path / "run", True, True)
    assert len([r for r in rows(tmp_path / "run") if r["val/mse"]]) == 3
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == before


def test_divergence_keeps_the_last_good_checkpoint(
    config: Path, reads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anycodec.torch.losses.mse import Mse

    calls = []

    def poisoned(self: Mse, reconstruction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        loss = (reconstruction - target).square().mean()
        return loss * float("nan") if len(calls) > 10 else loss

    monkeypatch.setattr(Mse, "forward", poisoned)
    overrides = [f"data.root={reads}", "data.workers=0", "train.accumulate=1", "train.log_every=1000"]
    with pytest.raises(RunError, match=r"diverged at step 14: not finite: loss, mse"):
        train(config, [*overrides, "train.val_every=1000"], tmp_path / "run", False, True)
    state = torch.load(tmp_path / "run" / "resume" / "state.pt", weights_only=True)
    assert state["step"] == 7
    assert all(torch.isfinite(value).all() for value in state["codec"].values())


def test_each_metric_keeps_its_best_weights_as_a_run(config: Path, reads: Path, tmp_path: Path) -> None:
    """Also over an interruption: the first session ends after its best codes_used."""
    kept = ["train.keep_best=[val/codes_used, val/l1]", f"data.root={reads}", "data.workers=0"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(config, kept, whole, False, True)
    train(config, [*kept, "train.steps=30", "train.schedule.type=constant"], cut, False, True)
    with pytest.raises(RunError, match=r"keep_best was \['val/codes_used', 'val/l1'\], now \[\]"):
        train(config, [f"data.root={reads}"], cut, True, True)
    train(config, [*kept, "train.schedule.type=constant"], cut, True, True)
    for run in (whole, cut):
        for metric, best in (("val/codes_used", max), ("val/l1", min), ("val/snr", max)):
            values = [(float(r[metric]), int(r["step"])) for r in rows(run) if r[metric]]
            value = best(value for value, _ in values)
            directory = RunDirectory(run) if metric == "val/snr" else RunDirectory(run).best(metric)
            found = directory.read_manifest()["training"]["best"]
            assert (found["metric"], found["value"]) == (metric, pytest.approx(value, rel=1e-4))
            assert found["step"] in [
                step for other, step in values if other == pytest.approx(value, rel=1e-4)
            ]
            assert Pipeline.open(directory.path).codec.codebook_sizes == (16,)
            assert directory.read_manifest()["fingerprint"] == directory.fingerprint()
    with pytest.raises(RunError, match="best weights of another run"):
        train(config, kept, whole / "best" / "val_l1", True, True)


def test_a_state_of_an_earlier_version_is_refused(config: Path, reads: Path, tmp_path: Path) -> None:
    overrides = [f"data.root={reads}", "data.workers=0", "train.steps=2"]
    train(config, overrides, tmp_path / "run", False, True)
    path = tmp_path / "run" / "resume" / "state.pt"
    state = torch.load(path, weights_only=True)
    del state["bests"]
    torch.save(state, path)
    with pytest.raises(RunError, match="earlier version"):
        train(config, overrides, tmp_path / "run", True, True)


@pytest.mark.parametrize("setting", ["train.tensorboard=true", "train.wandb.mode=offline"])
def test_trackers_write_into_the_run(
    config: Path, reads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    name = setting.split(".")[1].split("=", maxsplit=1)[0]
    pytest.importorskip(name, reason=f"{name} is not installed")
    monkeypatch.setenv("WANDB_SILENT", "true")
    overrides = [f"data.root={reads}", "data.workers=0", "train.steps=2", setting]
    train(config, overrides, tmp_path / "run", False, True)
    assert any(path.is_file() for path in (tmp_path / "run" / name).rglob("*"))


def test_weights_and_biases_need_a_key(
    config: Path, reads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(UserError, match="WANDB_API_KEY"):
        train(config, [f"data.root={reads}", "train.wandb={}"], tmp_path / "run", False, True)


def test_statistics_hold_the_training_tokens(config: Path, reads: Path, tmp_path: Path) -> None:
    train(config, [f"data.root={reads}", "train.steps=5", "data.workers=0"], tmp_path / "run", False, True)
    run = RunDirectory(tmp_path / "run")
    counts = run.read_statistics()["token_counts.0"]
    windows = run.read_manifest()["data"]["counts"]["train_windows"]
    assert counts.shape == (16,)
    assert counts.dtype == np.int64
    assert counts.sum() == windows * 96 // 8
