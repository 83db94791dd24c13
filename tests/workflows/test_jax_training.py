"""Training by the engine jax as a whole: interruption and resumption, both engines on one run, divergence."""

from __future__ import annotations

import csv
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pod5
import pytest

from anycodec.checkpoint import RunDirectory
from anycodec.config.loader import load_spec
from anycodec.engine import get_engine
from anycodec.errors import ConfigError, RunError, UserError
from anycodec.workflows import compress, decompress, samples, statistics
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.train import run as train

pytest.importorskip("jax")

from anycodec.jax.training.session import Session

CONFIG = """\
name: tiny
engine: jax
data: {type: pod5, window: {samples: 96}, workers: 2}
codec:
  type: simvqgan
  base_channels: 8
  stem_stride: 4
  channels: [8]
  strides: [2]
  res_blocks: 1
  mid_blocks: 0
  latent_channels: 8
  norm_groups: 4
  patch_skip: true
  quantizer: {type: ema, codebook_size: 16, restart_after: 2, kmeans_after: 2}
train:
  steps: 9
  batch_size: 4
  accumulate: 2
  ema: 0.9
  val_every: 3
  val_batches: 2
  checkpoint_every: 3
  log_every: 1
  device: cpu
  schedule: {type: cosine, warmup: 2}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Reads, the configuration, and one cache of compiled programs for all tests."""
    path = tmp_path_factory.mktemp("jax")
    samples.run("nanopore", path / "data", seed=1, size="small")
    (path / "tiny.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_CACHE_DIR", str(path / "xla"))
        patch.setattr(statistics, "MOST_VALUES", 2**12)
        yield path


def go(folder: Path, run: Path, *overrides: str, resume: bool = False) -> None:
    config = run / "config.yaml" if resume else folder / "tiny.yaml"
    train(config, [f"data.root={folder / 'data'}", *overrides], run, resume, True)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """A run that nothing interrupted."""
    go(folder, folder / "whole")
    return folder / "whole"


def rows(run: Path) -> list[dict[str, str]]:
    """metrics.csv without what depends on the clock."""
    with RunDirectory(run).metrics.open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "samples_per_second"} for row in csv.DictReader(file)]


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Let something happen once a step is done, before it is logged."""
    usual = Session._after

    def after(self: Session) -> bool:
        if self.progress.step == step:
            act()
        return usual(self)

    monkeypatch.setattr(Session, "_after", after)


def crash() -> None:
    raise OSError("killed")


def test_a_killed_and_a_stopped_run_resume_to_the_same(
    folder: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM at step 4 leaves a checkpoint there; the death at 8 costs the steps from 6 on."""
    cut = folder / "cut"
    with monkeypatch.context() as patch:
        at_step(patch, 4, lambda: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(SystemExit) as ended:
            go(folder, cut)
    assert ended.value.code == 143
    assert rows(cut)[-1]["step"] == "4"
    with monkeypatch.context() as patch:
        at_step(patch, 8, crash)
        with pytest.raises(OSError, match="killed"):
            go(folder, cut, resume=True)
    assert rows(cut)[-1]["step"] == "7"
    assert not RunDirectory(cut).statistics.exists()
    go(folder, cut, resume=True)
    for name in ("weights.safetensors", "statistics.safetensors", "resume/state.safetensors"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name
    assert rows(cut) == rows(whole)


def test_figures_and_log_are_those_of_torch(whole: Path) -> None:
    last_row, validation = rows(whole)[-2:]
    assert {name for name, value in last_row.items() if value} >= {
        "train/loss", "train/mse", "train/commitment", "train/codes_used", "train/perplexity", "lr",
    }  # fmt: skip
    assert {name for name, value in validation.items() if value} == {
        "step", "val/loss", "val/mse", "val/l1", "val/snr", "val/psnr", "val/codes_used", "val/perplexity",
    }  # fmt: skip
    rates = [float(row["lr"]) for row in rows(whole) if row["lr"]]
    turn = [0.5 * (1 + np.cos(np.pi * k / 6)) for k in range(1, 7)]
    expected = [3e-4, 3e-4, *(1e-6 + (3e-4 - 1e-6) * x for x in turn), 1e-6]
    np.testing.assert_allclose(rates, expected, rtol=1e-4)
    assert "step      9  loss" in RunDirectory(whole).log.read_text()


def test_both_engines_read_a_run_alike(whole: Path) -> None:
    """Equal tokens but for near ties, and equal windows of equal tokens."""
    run = RunDirectory(whole)
    spec, windows = run.spec(), np.random.default_rng(0).normal(size=(20, 1, 96)).astype(np.float32)
    ours, theirs = (get_engine(name).load(spec, 1, run.weights, "cpu") for name in ("jax", "torch"))
    tokens = ours.encode(windows)
    assert (tokens.grids[0] == theirs.encode(windows).grids[0]).mean() > 0.99
    np.testing.assert_allclose(ours.decode(tokens), theirs.decode(tokens), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.reconstruct(windows), ours.decode(tokens), rtol=1e-4, atol=1e-5)


def test_files_of_one_engine_are_opened_by_the_other(
    folder: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What jax compressed, torch restores as jax does, to the last step of the converter."""
    source = next((folder / "data").rglob("*.pod5"))
    compress.run(whole, [source], folder / "acz", "cpu")
    restored = {}
    for engine in ("jax", "torch"):
        monkeypatch.setenv("ANYCODEC_ENGINE", engine)
        decompress.run([folder / "acz"], folder / engine, whole, "cpu")
        (file,) = (folder / engine).rglob("*.pod5")
        with pod5.Reader(file) as reader:
            restored[engine] = {str(read.read_id): read.signal.astype(int) for read in reader.reads()}
    assert restored["jax"].keys() == restored["torch"].keys()
    far = [np.abs(restored["torch"][name] - signal).max() for name, signal in restored["jax"].items()]
    assert max(far) <= 1
    monkeypatch.setenv("ANYCODEC_ENGINE", "jaxx")
    with pytest.raises(UserError, match="there is no engine 'jaxx'"):
        Pipeline.open(whole)


class Board(ModuleType):
    """The part of Weights & Biases' public API that trackers call, noting the calls.

    Only their sequence is tested with it: https://docs.wandb.ai/ref/python/
    """

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[tuple[str, dict[str, object]]] = []

    def init(self, **settings: object) -> Board:
        self.calls.append(("init", settings))
        return self

    def log(self, figures: dict[str, float], step: int) -> None:
        self.calls.append(("log", {"step": step, **figures}))

    def finish(self) -> None:
        self.calls.append(("finish", {}))


def test_weights_and_biases_get_every_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board, run = Board(), folder / "tracked"
    monkeypatch.setitem(sys.modules, "wandb", board)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(UserError, match=r"export WANDB_API_KEY=..., or set train.wandb.mode=offline"):
        go(folder, folder / "untracked", "train.wandb={}")
    go(folder, run, "train.wandb={project: pores, mode: offline}", "train.steps=3")
    (first, settings), *logged, last = board.calls
    assert first == "init"
    assert settings == {"project": "pores", "name": "tiny", "dir": str(run), "mode": "offline"}
    assert last == ("finish", {})
    assert [name for name, _ in logged] == ["log"] * 4
    for (_, figures), row in zip(logged, rows(run), strict=True):
        assert figures["step"] == int(row["step"])
        for name, text in row.items():
            if text:
                assert float(text) == pytest.approx(figures[name], rel=1e-5), name


def test_a_training_that_diverges_names_what_broke(folder: Path) -> None:
    run = folder / "diverged"
    with pytest.raises(RunError, match=r"diverged at step \d: not finite: "):
        go(folder, run, "train.optimizer.lr=1e30", "train.clip=null", "train.checkpoint_every=1")
    assert (run / "resume" / "state.safetensors").is_file(), "the last good checkpoint is kept"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["losses.x.type=lpips"], r"losses.x.type`: [\s\S]*the engine jax has no loss lpips"),
        (["codec.quantizer={type: lfq}"], r"codec.quantizer.type`: [\s\S]*no quantizer lfq"),
        (
            ["codec.quantizer={type: residual, quantizer: {type: optvq}}"],
            r"codec.quantizer.quantizer.type`: [\s\S]*no quantizer optvq[\s\S]*engine=torch",
        ),
        (["train.precision=fp16"], r"train.precision`: [\s\S]*the engine jax has no fp16"),
    ],
)
def test_what_jax_lacks_is_named_before_data_loads(folder: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_spec(folder / "tiny.yaml", [*overrides, "data.root=nowhere"], check_paths=False)
