"""One training by two engines in turns; one step on one device and on four."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from anycodec.workflows import samples, statistics
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
  ema: 0.9
  val_every: 2
  val_batches: 1
  checkpoint_every: 2
  log_every: 1
  device: cpu
  schedule: {type: constant, warmup: 3}
"""
UNLIKE = ("samples_per_second", "train/skipped_updates")


def test_a_training_goes_on_in_the_other_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch, jax and torch again, two steps each, against torch alone: every figure of every step.

    Weights, averages and moments of both networks, learning rates, the adaptive weight and the order of
    batches must go over for that.
    """
    monkeypatch.setattr(statistics, "MOST_VALUES", 2**12)
    monkeypatch.setenv("XLA_CACHE_DIR", str(tmp_path / "xla"))
    samples.run("nanopore", tmp_path / "data", seed=1, size="small")
    (tmp_path / "turns.yaml").write_text(CONFIG)
    root = f"data.root={tmp_path / 'data'}"
    turns, alone = tmp_path / "turns", tmp_path / "alone"
    train(tmp_path / "turns.yaml", [root], turns, False, True)
    shutil.copytree(turns, alone)
    for run, steps, engine in ((turns, 4, "jax"), (turns, 6, "torch"), (alone, 6, "torch")):
        train(run / "config.yaml", [root, f"engine={engine}", f"train.steps={steps}"], run, True, True)
    found, expected = rows(turns), rows(alone)
    assert len(found) == len(expected) == 9
    compared = {
        (row["step"], name): (float(row[name]), float(value))
        for row, other in zip(found, expected, strict=True)
        for name, value in other.items()
        if value and name not in UNLIKE
    }
    assert {name for _, name in compared} >= {"train/adaptive_weight", "train/feature_matching", "val/snr"}
    far = {at: pair for at, pair in compared.items() if pair[0] != pytest.approx(pair[1], rel=5e-3, abs=2e-5)}
    assert far == {}


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
