"""Feature networks and generators trained by two processes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from generation_runs import picture_codec

from anycodec.checkpoint import RunDirectory, read_arrays
from anycodec.config.kinds import FEATURES
from anycodec.config.loader import load_kind
from anycodec.workflows import features, latents, training

FEATURES_CONFIG = """\
data: {type: table, window: {samples: 32}, workers: 0}
features:
  network: {base_channels: 4, channel_multipliers: [1, 2], norm_groups: 2}
  objective: {type: vicreg, width: 16}
  augmentation: {share: 0}  # each process would draw its own
train: {steps: 4, batch_size: 8, val_every: 2, val_batches: 1, log_every: 1, device: cpu, threads: 1}
"""


def test_a_feature_network_learns_the_same_from_variances_over_both_halves(tmp_path: Path) -> None:
    """VICReg looks at the whole batch: its normalisation, variances and covariances."""
    (tmp_path / "data").mkdir()
    for number in range(3):
        values = np.random.default_rng(number).normal(size=(600, 2)).cumsum(axis=0)
        np.savetxt(tmp_path / "data" / f"{number}.csv", values, delimiter=",", header="a,b", comments="")
    (tmp_path / "features.yaml").write_text(FEATURES_CONFIG)
    states = []
    for devices in (1, 2):
        settings = [f"data.root={tmp_path}/data", f"train.devices={devices}"]
        spec = load_kind(FEATURES, tmp_path / "features.yaml", settings)
        run = RunDirectory(tmp_path / f"run-{devices}")
        features.train(spec, run, resume=False, quiet=True)
        states.append(torch.load(run.resume / "state.pt", weights_only=True))
    for name, value in states[0]["model"].items():
        if name.startswith("objective.expander") and name.endswith(("bias", "running_mean")):
            continue  # what has no effect has a gradient of zero, whose rounding Adam enlarges
        torch.testing.assert_close(states[1]["model"][name], value, rtol=1e-3, atol=1e-5, msg=name)


GENERATOR_CONFIG = """\
generator: {type: dit, width: 16, depth: 1, heads: 1}
process: {type: flow}
train: {batch_size: 4, accumulate: 2, val_every: 2, val_batches: 1, checkpoint_every: 2, log_every: 1,
        ema: 0.9, threads: 1, device: cpu, schedule: {type: constant, warmup: 0}, optimizer: {lr: 1.0e-2}}
"""


def test_a_generator_goes_on_in_another_number_of_processes(tmp_path: Path) -> None:
    """Each process draws noise of its own, so that only the course of the training can be compared."""
    latents.run(picture_codec(tmp_path), [], tmp_path / "latents", "cpu")
    (tmp_path / "dit.yaml").write_text(GENERATOR_CONFIG)
    run = RunDirectory(tmp_path / "run")
    for devices, steps in ((2, 20), (1, 24)):
        settings = [f"latents={tmp_path}/latents", f"train.devices={devices}", f"train.steps={steps}"]
        training.run(tmp_path / "dit.yaml", settings, run.path, run.path.exists(), True)
    assert run.read_manifest()["training"]["steps"] == 24
    with run.metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["train/loss"]] == list(range(1, 25))
    losses = [float(row["val/loss"]) for row in rows if row["val/loss"]]
    assert len(losses) == 12
    assert losses[9] < losses[0]
    assert all(np.isfinite(value).all() for value in read_arrays(run.weights).values())
