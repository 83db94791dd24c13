"""The parts of the training loop, one by one, against formulas worked out by hand."""

from __future__ import annotations

import csv
import logging
import math
import multiprocessing
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from anycodec.checkpoint import RunDirectory
from anycodec.config.codec import SimVqganSpec
from anycodec.config.data import Pod5Source
from anycodec.config.quantizer import VqSpec
from anycodec.config.train import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    OptimizerSpec,
    TrainSpec,
)
from anycodec.errors import DataError, RunError
from anycodec.torch import engine as torch_engine
from anycodec.torch.codecs import make_codec
from anycodec.torch.engine import TorchCodec
from anycodec.torch.training.batches import TrainBatches, validation_batches
from anycodec.torch.training.ema import Ema
from anycodec.torch.training.layout import lay_out
from anycodec.torch.training.module import adamw, require_finite
from anycodec.torch.training.state import load_state, save_state
from anycodec.training.csvlog import CsvLog
from anycodec.training.schedule import schedule_factor
from anycodec.training.stop import StopRequest
from anycodec.types import Tokens
from anycodec.workflows import statistics

# --- optimizer ----------------------------------------------------------------------------------------


def adam_by_hand(weight: torch.Tensor, gradients: list[torch.Tensor], spec: OptimizerSpec) -> torch.Tensor:
    """Kingma & Ba 2015, algorithm 1, with decoupled decay (Loshchilov & Hutter 2019), in float64."""
    theta, first, second = weight.double(), torch.zeros(()).double(), torch.zeros(()).double()
    for t, gradient in enumerate(gradients, start=1):
        g = gradient.double()
        first = spec.betas[0] * first + (1 - spec.betas[0]) * g
        second = spec.betas[1] * second + (1 - spec.betas[1]) * g**2
        theta = theta - spec.lr * spec.weight_decay * theta
        step = (first / (1 - spec.betas[0] ** t)) / ((second / (1 - spec.betas[1] ** t)).sqrt() + 1e-8)
        theta = theta - spec.lr * step
    return theta


@pytest.mark.parametrize("laid_out_before", [True, False])
@pytest.mark.parametrize("laid_out_after", [True, False])
def test_adam_goes_on_from_a_state_in_any_memory_order(laid_out_before: bool, laid_out_after: bool) -> None:
    spec = OptimizerSpec(lr=0.1, weight_decay=0.01)
    torch.manual_seed(0)
    weight, *gradients = torch.randn(4, 5, 3, 2, 2)

    def after(value: torch.Tensor, gradients: list[torch.Tensor], laid_out: bool, state: Any) -> Any:
        conv = nn.Conv2d(3, 5, 2, bias=False)
        conv.weight.data = value.clone()
        if laid_out:
            lay_out(conv)
            assert conv.weight.is_contiguous(memory_format=torch.channels_last)
        optimizer = adamw([{"params": list(conv.parameters())}], spec)
        if state is not None:
            optimizer.load_state_dict(state)
        for gradient in gradients:
            optimizer.zero_grad()
            (conv.weight * gradient).sum().backward()
            optimizer.step()
        return conv.weight.detach(), optimizer.state_dict()

    value, state = after(weight, gradients[:1], laid_out_before, None)
    value, _ = after(value, gradients[1:], laid_out_after, state)
    torch.testing.assert_close(value.double(), adam_by_hand(weight, gradients, spec), rtol=1e-5, atol=1e-6)


# --- learning rate ------------------------------------------------------------------------------------


def factors(schedule: Any, steps: int, lr: float = 1e-3) -> list[float]:
    factor = schedule_factor(TrainSpec(steps=steps, schedule=schedule, optimizer=OptimizerSpec(lr=lr)))
    return [factor(step) for step in range(steps)]


def test_warm_up_is_linear_and_reaches_one() -> None:
    assert factors(ConstantSchedule(warmup=4), 6) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_has_its_known_values() -> None:
    """5 updates: cos at 0, 45, 90, 135, 180 degrees."""
    found = factors(CosineSchedule(warmup=0, final_lr=0), 5)
    half = math.sqrt(0.5)
    np.testing.assert_allclose(found, [1, (1 + half) / 2, 0.5, (1 - half) / 2, 0], atol=1e-12)
    assert factors(CosineSchedule(warmup=3, final_lr=1e-4), 50)[-1] == pytest.approx(0.1)


def test_exponential_falls_in_steps() -> None:
    assert factors(ExponentialSchedule(gamma=0.5, every=2), 6) == [1, 1, 0.5, 0.5, 0.25, 0.25]


@given(steps=st.integers(1, 60), warmup=st.integers(0, 80), final=st.floats(0, 1e-3))
def test_cosine_never_leaves_its_range(steps: int, warmup: int, final: float) -> None:
    lowest = min(final / 1e-3, 1 / max(1, warmup))
    found = factors(CosineSchedule(warmup=warmup, final_lr=final), steps)
    assert all(lowest - 1e-12 <= factor <= 1 + 1e-12 for factor in found)


# --- averaged weights ---------------------------------------------------------------------------------


def test_average_follows_the_formula() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    ema = Ema(layer, decay=0.2)
    expected = 1.0
    for update, value in enumerate([2.0, -3.0, 0.5]):
        layer.weight.data.fill_(value)
        ema.update()
        decay = min(0.2, (1 + update) / (10 + update))  # 0.1, 2/11, 0.2
        expected = decay * expected + (1 - decay) * value
    with ema.applied():
        assert layer.weight.item() == pytest.approx(expected, rel=1e-5)
    assert layer.weight.item() == 0.5


def test_average_leaves_buffers_and_frozen_weights_alone() -> None:
    module = nn.BatchNorm1d(2)
    module.weight.requires_grad_(False)
    ema = Ema(module, 0.9)
    assert set(ema.average) == {"bias"}


def test_average_comes_back_when_the_block_fails() -> None:
    layer = nn.Linear(2, 2)
    before = layer.weight.clone()
    ema = Ema(layer, 0.9)
    layer.weight.data.add_(1)
    with pytest.raises(RuntimeError), ema.applied():
        raise RuntimeError
    torch.testing.assert_close(layer.weight, before + 1)


# --- metrics.csv --------------------------------------------------------------------------------------


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_columns_appear_when_they_are_needed(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "m.csv", 0)
    log.write(1, {"a": 0.5})
    log.write(2, {"a": 0.25, "b": 1e-9})
    assert read(tmp_path / "m.csv") == [
        {"step": "1", "a": "0.5", "b": ""},
        {"step": "2", "a": "0.25", "b": "1e-09"},
    ]


def test_resumption_drops_later_rows(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "m.csv", 0)
    for step in (1, 2, 3):
        log.write(step, {"a": step})
    with (tmp_path / "m.csv").open("a") as file:
        file.write("4,")  # a write that was cut
    log = CsvLog(tmp_path / "m.csv", 2)
    log.write(3, {"a": 30})
    assert [(row["step"], row["a"]) for row in read(tmp_path / "m.csv")] == [
        ("1", "1"),
        ("2", "2"),
        ("3", "30"),
    ]
    CsvLog(tmp_path / "m.csv", 0)
    assert read(tmp_path / "m.csv") == []


# --- state, divergence, stop ----------------------------------------------------------------------------


def test_the_state_is_data_never_code(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert load_state(run) is None
    save_state(run, {"step": 3, "values": torch.arange(3)})
    state = load_state(run)
    assert state is not None
    assert state["step"] == 3
    for content in (b"", b"garbage", (run.resume / "state.pt").read_bytes()[:-100]):
        (run.resume / "state.pt").write_bytes(content)
        with pytest.raises(RunError, match="resumable state is damaged"):
            load_state(run)
    torch.save({"step": Path("x")}, run.resume / "state.pt")  # a pickled object
    with pytest.raises(RunError, match="resumable state is damaged"):
        load_state(run)


def test_divergence_names_a_few_culprits() -> None:
    require_finite({"a": 1.0, "b": torch.ones(3)}, 5)
    bad = {name: torch.tensor([1.0, math.inf]) for name in "abcde"}
    with pytest.raises(RunError, match=r"diverged at step 5: not finite: a, b, c and 2 more"):
        require_finite(bad, 5)


def test_handlers_are_put_back() -> None:
    """Also where something else has replaced them in between, as Lightning does."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        stop.listen()
        signal.raise_signal(signal.SIGINT)
        assert stop.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


# --- batches and tokens -----------------------------------------------------------------------------------


class Counted:
    """Windows [1 1 8] whose values tell epoch and index."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def epoch_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng(epoch).permutation(self.length)

    def item(self, epoch: int, index: int) -> np.ndarray:
        return np.full((1, 1, 8), 100 * epoch + index, np.float32)

    def close(self) -> None: ...


class Damaged(Counted):
    """Logs what it passes over, and gives up at item 3."""

    def item(self, epoch: int, index: int) -> np.ndarray:
        logging.getLogger("anycodec.data").warning("passed over: item %d", index)
        if index == 3:
            raise DataError("the file ends early", where="a.pod5")
        return super().item(epoch, index)


def test_workers_log_to_the_run_and_fail_in_their_own_words(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "train.log")
    logging.getLogger("anycodec").addHandler(handler)
    try:
        with pytest.raises(DataError) as caught:
            list(TrainBatches(Damaged(4), Pod5Source(workers=1), 1, 0))
    finally:
        logging.getLogger("anycodec").removeHandler(handler)
        handler.close()
    assert (caught.value.what, caught.value.where) == ("the file ends early", "a.pod5")
    assert "passed over: item 3" in (tmp_path / "train.log").read_text()
    assert multiprocessing.active_children() == [], "a worker left behind would hold up the exit for ever"


def test_a_later_start_continues_the_same_batches() -> None:
    source = Pod5Source(workers=0)
    whole, late = (iter(TrainBatches(Counted(7), source, 3, start)) for start in (0, 4))
    batches = [next(whole)[:, 0, 0].tolist() for _ in range(8)]
    assert [next(late)[:, 0, 0].tolist() for _ in range(4)] == batches[4:]
    seen = [int(value) for batch in batches for value in batch][:21]
    assert [sorted(seen[i : i + 7]) for i in (0, 7, 14)] == [
        [100 * e + i for i in range(7)] for e in range(3)
    ]


def test_validation_is_spread_over_the_grid() -> None:
    found = validation_batches(Counted(101), Pod5Source(), batch_size=3, count=2)
    assert [batch[:, 0, 0].tolist() for batch in found] == [[0, 20, 40], [60, 80, 100]]
    assert [len(batch) for batch in validation_batches(Counted(4), Pod5Source(), 3, 8)] == [3, 1]


@pytest.fixture(scope="module")
def codec() -> TorchCodec:
    torch.manual_seed(0)
    spec = SimVqganSpec(
        base_channels=8, stem_stride=2, channels=(8,), strides=(2,), res_blocks=1, mid_blocks=1,
        latent_channels=8, norm_groups=4, quantizer=VqSpec(codebook_size=16, kmeans_init=False),
    )  # fmt: skip
    return TorchCodec(make_codec(spec, 1), torch.device("cpu"))


@pytest.mark.parametrize("chunk", [1, 8, 17, 64, 2**20])
def test_chunks_do_not_change_tokens(codec: TorchCodec, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = np.random.default_rng(0).normal(size=(11, 1, 8)).astype(np.float32)
    one_by_one = [codec.encode(windows[i : i + 1]).grids[0] for i in range(11)]
    values = np.concatenate([codec.decode(Tokens((grid,), (16,))) for grid in one_by_one])
    monkeypatch.setattr(torch_engine, "_CHUNK_VALUES", chunk)
    tokens = codec.encode(windows)
    np.testing.assert_array_equal(tokens.grids[0], np.concatenate(one_by_one))
    np.testing.assert_allclose(codec.decode(tokens), values, rtol=1e-5, atol=1e-6)


def test_token_counts_are_those_of_all_windows(codec: TorchCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = Counted(13)
    values = np.concatenate([windows.item(0, index) for index in range(13)])
    expected = np.bincount(codec.encode(values).grids[0].ravel(), minlength=16)
    for chunk in (1, 24, 10**6):
        monkeypatch.setattr(statistics, "CHUNK_VALUES", chunk)
        counts = statistics.token_statistics(codec, windows, (1, 4))["token_counts.0"]
        np.testing.assert_array_equal(counts, expected)
    monkeypatch.setattr(statistics, "MOST_VALUES", 5 * 8)
    assert statistics.token_statistics(codec, windows, (1, 4))["token_counts.0"].sum() == 5 * 2
