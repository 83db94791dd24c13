"""Both engines on one training and one run; one step on one device and on four."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anycodec.checkpoint import RunDirectory, read_arrays
from anycodec.workflows import evaluate, samples, statistics
from anycodec.workflows.report import evaluation_path
from anycodec.workflows.train import run as train
from workflows.test_training import rows

pytest.importorskip("jax")

CONFIG = """\
name: turns
data: {type: pod5, window: {samples: 96}, workers: 0}
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
  quantizer: {type: vq, codebook_size: 16, kmeans_init: false, restart_after: 0, codebook_lr: 2.0}
adversarial:
  discriminator: {type: patchgan, base_channels: 4, layers: 2, norm: instance}
  start: 0
  lead: 0
  ramp: 4
  feature_matching: 0.5
train:
  steps: 2
  batch_size: 4
  accumulate: 2
  ema: 0.9
  val_every: 2
  val_batches: 1
  checkpoint_every: 2
  log_every: 1
  device: cpu
  schedule: {type: constant, warmup: 3}
"""
UNLIKE = ("samples_per_second", "train/skipped_updates")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Reads, the configuration, and one cache of compiled programs for all tests."""
    path = tmp_path_factory.mktemp("engines")
    samples.run("nanopore", path / "data", seed=1, size="small")
    (path / "turns.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "MOST_VALUES", 2**12)
        patch.setenv("XLA_CACHE_DIR", str(path / "xla"))
        yield path


def go(folder: Path, run: Path, *overrides: str, resume: bool = False) -> Path:
    config = run / "config.yaml" if resume else folder / "turns.yaml"
    train(config, [f"data.root={folder / 'data'}", *overrides], run, resume, True)
    return run


def unlike(run: Path, other: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """Figures of two trainings that differ by more than rounding does, by step and name."""
    compared = {
        (row["step"], name): (float(row[name]), float(value))
        for row, beside in zip(rows(run), rows(other), strict=True)
        for name, value in beside.items()
        if value and name not in UNLIKE
    }
    assert {name for _, name in compared} >= {"train/adaptive_weight", "train/feature_matching", "val/snr"}
    return {
        at: pair for at, pair in compared.items() if pair[0] != pytest.approx(pair[1], rel=5e-3, abs=2e-5)
    }


def test_a_training_goes_on_in_the_other_engine(folder: Path, tmp_path: Path) -> None:
    """Torch, jax and torch again, two steps each, against torch alone: every figure of every step.

    Weights, averages and moments of both networks, learning rates, the adaptive weight and the order of
    batches, two a step, must go over for that.
    """
    turns, alone = go(folder, tmp_path / "turns"), tmp_path / "alone"
    shutil.copytree(turns, alone)
    for run, steps, engine in ((turns, 4, "jax"), (turns, 6, "torch"), (alone, 6, "torch")):
        go(folder, run, f"engine={engine}", f"train.steps={steps}", resume=True)
    assert len(rows(turns)) == 9
    assert unlike(turns, alone) == {}


def test_a_training_starts_from_the_weights_of_the_other_engine(folder: Path, tmp_path: Path) -> None:
    """Both networks of a torch run in jax as in torch, and of that jax run in torch as in jax."""
    first = go(folder, tmp_path / "first")
    tuned = {
        engine: go(folder, tmp_path / engine, f"engine={engine}", f"train.init_from={first}")
        for engine in ("torch", "jax")
    }
    assert unlike(tuned["jax"], tuned["torch"]) == {}
    again = {
        engine: go(folder, tmp_path / f"{engine}2", f"engine={engine}", f"train.init_from={tuned['jax']}")
        for engine in ("torch", "jax")
    }
    assert unlike(again["torch"], again["jax"]) == {}
    beginnings = {rows(run)[0]["train/mse"] for run in (first, tuned["jax"], again["torch"])}
    assert len(beginnings) == 3, "each starts where the one before ended"
    said = RunDirectory(again["torch"]).read_manifest()["init_from"]
    assert said == {
        "run": str(tuned["jax"]),
        "fingerprint": RunDirectory(tuned["jax"]).fingerprint(),
        "discriminator": True,
    }


def test_a_run_is_evaluated_by_the_other_engine(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of both engines: rate, error and code use are those that the engine itself finds."""
    for trained in ("torch", "jax"):
        run = go(folder, tmp_path / trained, f"engine={trained}", "adversarial=null")
        found = {}
        for engine in ("torch", "jax"):
            monkeypatch.setenv("ANYCODEC_ENGINE", engine)
            evaluate.run(run, [], "cpu")
            found[engine] = json.loads(evaluation_path(RunDirectory(run)).read_text())["codec"]
        for part in ("rate", "original", "normalised"):
            for name, value in found["torch"][part].items():
                if isinstance(value, int | float):
                    assert found["jax"][part][name] == pytest.approx(value, rel=5e-3), (trained, part, name)


def test_bf16_trains_near_float32(folder: Path, tmp_path: Path) -> None:
    """Weights stay float32; the losses of the first steps agree to the 8 bits of bfloat16."""
    exact, coarse = (
        go(folder, tmp_path / precision, "engine=jax", f"train.precision={precision}")
        for precision in ("fp32", "bf16")
    )
    for row, other in zip(rows(exact)[:2], rows(coarse)[:2], strict=True):
        assert float(other["train/mse"]) == pytest.approx(float(row["train/mse"]), rel=0.02)
        assert other["train/mse"] != row["train/mse"]
    arrays = read_arrays(RunDirectory(coarse).weights)
    assert {array.dtype.name for array in arrays.values() if array.dtype.kind == "f"} == {"float32"}


DEVICES = """
import numpy as np, jax
from anycodec.config.run import RunSpec
from anycodec.jax import runtime
from anycodec.jax.training.contest import Phase
from anycodec.jax.training.loop import make_parts, make_step
from anycodec.jax.training.networks import on_devices
from anycodec.jax.training.resume import new_state
from anycodec.jax.training.session import Controls
from anycodec.jax.training.batches import shared_batch

runtime.configure("cpu")
spec = RunSpec.model_validate({
    "data": {"type": "pod5", "window": {"samples": 48}},
    "codec": {"type": "simvqgan", "base_channels": 8, "channels": [8], "strides": [4], "res_blocks": 1,
              "mid_blocks": 0, "latent_channels": 8, "quantizer": {"type": "ema", "codebook_size": 8,
              "kmeans_init": False, "restart_after": 1}},
    "train": {"batch_size": 8, "ema": 0.9},
})
x = np.random.default_rng(0).normal(size=(1, 8, 1, 48)).astype(np.float32)
found = []
every = runtime.make_mesh("cpu")
one = jax.make_mesh((1,), ("batch",), axis_types=every.axis_types, devices=jax.devices()[:1])
assert every.size == 4
for mesh in (one, every):
    parts = make_parts(spec, 1)
    step, controls = make_step(spec, parts, mesh), Controls(spec)
    state = on_devices(new_state(spec, parts.codec, None), mesh)
    batch = shared_batch(x, mesh, axis=1)
    assert len(batch.sharding.device_set) == mesh.size
    step.compile(state, batch, controls.now(0), Phase())
    for number in range(3):
        state = step(state, batch, controls.now(number), Phase()).state
    found.append(jax.tree.leaves((state.codec.params, state.codec.rest, state.average)))
print(max(float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max()) for a, b in zip(*found)))
"""


def test_four_devices_do_the_step_of_one() -> None:
    flags = "--xla_force_host_platform_device_count=4"
    command = [sys.executable, "-c", DEVICES]
    done = subprocess.run(
        command, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) < 1e-5
