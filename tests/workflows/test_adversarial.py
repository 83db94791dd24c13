"""Adversarial training as a whole: mistakes, the start, interruption, figures, what a run holds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from anycodec.checkpoint import RunDirectory
from anycodec.config.loader import load_spec
from anycodec.errors import ConfigError, RunError
from anycodec.torch.adversarial.objectives import Hinge
from anycodec.torch.codecs import make_codec
from anycodec.torch.training.adversarial import AdversarialTraining
from anycodec.workflows import samples
from anycodec.workflows.train import run as train
from workflows.test_training import assert_equal_runs, rows

CONFIG = """\
name: rival
data: {type: pod5, window: {samples: 96}, workers: 0}
codec:
  type: simvqgan
  base_channels: 8
  stem_stride: 4
  channels: [8]
  strides: [2]
  latent_channels: 8
  norm_groups: 4
  quantizer: {type: ema, codebook_size: 16, restart_after: 5}
adversarial:
  discriminator: {type: patchgan, base_channels: 4, layers: 2, norm: instance}
  start: 6
  lead: 3
  ramp: 4
  every: 2
  feature_matching: 0.5
  gradient_penalty: 1.0
  noise: {scale: 0.1}
  schedule: {type: cosine, warmup: 2}
train:
  steps: 14
  batch_size: 4
  accumulate: 2
  ema: 0.9
  val_every: 5
  val_batches: 2
  checkpoint_every: 5
  log_every: 1
  threads: 1
  schedule: {type: constant}
"""
HEALTH = (
    "logits_real",
    "logits_fake",
    "discriminator",
    "gradient_penalty",
    "generator",
    "feature_matching",
    "adaptive_weight",
    "gradient_ratio",
    "skipped_updates",
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rival")
    samples.run("nanopore", folder / "data", seed=1, size="small")
    path = folder / "rival.yaml"
    path.write_text(CONFIG.replace("type: pod5", f"type: pod5, root: {folder / 'data'}"))
    return path


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(config, [], run, False, True)
    return run


def state_of(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "resume" / "state.pt", weights_only=True)
    return state


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["adversarial.lead=7"], r"adversarial.lead`: [\s\S]*7 steps before step 6"),
        (["train.steps=6"], r"adversarial.start`: [\s\S]*from step 6 on, the training ends after 6"),
        (
            ["adversarial.objective=wgan", "adversarial.discriminator.norm=batch"],
            r"adversarial.gradient_penalty`: [\s\S]*BatchNorm[\s\S]*norm=instance",
        ),
        (
            ["adversarial.objective=wgan", "adversarial.gradient_penalty=0"],
            r"adversarial.objective`: [\s\S]*gradient_penalty=10",
        ),
        (
            ["adversarial.discriminator.layers=6"],
            r"adversarial.discriminator.layers`: [\s\S]*at least 192 along T, they have 96",
        ),
        (
            ["engine=jax", "adversarial.discriminator.norm=actnorm"],
            r"adversarial.discriminator.norm`: [\s\S]*the engine jax has no norm actnorm",
        ),
        (["adversarial.objective=hing"], "did you mean `hinge`"),
    ],
)
def test_mistakes_are_named_before_data_loads(config: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_spec(config, [*overrides, "data.root=nowhere"], check_paths=False)


def test_mistakes_come_together(config: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_spec(config, ["adversarial.lead=9", "train.steps=3", "adversarial.discriminator.layers=6"])
    assert len(caught.value.mistakes) == 3


def test_null_is_a_training_of_one(config: Path) -> None:
    assert load_spec(config, ["adversarial=null"]).adversarial is None


def test_a_killed_run_resumes_to_the_same_networks(
    config: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = AdversarialTraining._finish

    def die(self: AdversarialTraining, *rest: Any) -> None:
        if self.steps_done == 12:
            raise RuntimeError("killed")
        finish(self, *rest)

    monkeypatch.setattr(AdversarialTraining, "_finish", die)
    with pytest.raises(RuntimeError, match="killed"):
        train(config, [], tmp_path / "cut", False, True)
    assert state_of(tmp_path / "cut")["step"] == 10
    monkeypatch.undo()
    train(config, [], tmp_path / "cut", True, True)
    assert_equal_runs(whole, tmp_path / "cut")
    discriminators = [RunDirectory(run).discriminator.read_bytes() for run in (whole, tmp_path / "cut")]
    assert discriminators[0] == discriminators[1]


def test_until_the_start_the_codec_is_that_of_a_run_without_a_discriminator(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rival = tmp_path / "rival"
    finish = AdversarialTraining._finish

    def die(self: AdversarialTraining, *rest: Any) -> None:
        if self.steps_done == 6:
            raise RuntimeError("killed")
        finish(self, *rest)

    monkeypatch.setattr(AdversarialTraining, "_finish", die)
    with pytest.raises(RuntimeError, match="killed"):
        train(config, ["train.checkpoint_every=6"], rival, False, True)
    alone = tmp_path / "alone"
    train(config, ["adversarial=null", "train.steps=6"], alone, False, True)
    one, other = state_of(rival), state_of(alone)
    assert one["step"] == other["step"] == 6
    assert all(torch.equal(value, other["codec"][name]) for name, value in one["codec"].items())
    assert one["codec"].keys() == other["codec"].keys()


def test_figures_are_logged_from_the_discriminators_first_step(whole: Path) -> None:
    found = {int(row["step"]): row for row in rows(whole) if row["train/loss"]}
    for step, row in found.items():
        for name in HEALTH:
            of_the_codec = name in ("generator", "feature_matching", "adaptive_weight", "gradient_ratio")
            assert bool(row[f"train/{name}"]) == (step > (6 if of_the_codec else 3)), (step, name)
    assert float(found[14]["train/skipped_updates"]) == 0


def test_a_run_holds_the_codec_and_beside_it_the_discriminator(whole: Path) -> None:
    run = RunDirectory(whole)
    codec = make_codec(run.spec().codec, 1)
    assert load_file(run.weights).keys() == codec.state_dict().keys()
    state = state_of(whole)
    last = load_file(run.discriminator)
    assert all(
        torch.equal(value, state["discriminator"][f"discriminator.{name}"]) for name, value in last.items()
    )
    assert state["discriminator_optimizer"]["param_groups"][0]["betas"] == (0.5, 0.9)
    assert state["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.99)


def test_bfloat16_trains(config: Path, tmp_path: Path) -> None:
    train(config, ["train.precision=bf16", "train.steps=10"], tmp_path / "run", False, True)
    last = [row for row in rows(tmp_path / "run") if row["train/loss"]][-1]
    assert all(math.isfinite(float(last[f"train/{name}"])) for name in HEALTH)


@pytest.mark.parametrize("side", ["generator", "discriminator"])
def test_a_term_that_is_not_a_number_is_named_and_the_last_checkpoint_kept(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    calls: list[int] = []
    plain = getattr(Hinge, side)

    def poisoned(self: Hinge, *logits: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        value: torch.Tensor = plain(self, *logits)
        return value * math.nan if len(calls) > 6 else value

    monkeypatch.setattr(Hinge, side, poisoned)
    with pytest.raises(RunError, match=rf"diverged at step \d+: not finite: {side}\b[\s\S]*is kept"):
        train(config, ["train.checkpoint_every=2", "train.log_every=100"], tmp_path / "run", False, True)
    state = state_of(tmp_path / "run")
    assert state["step"] >= 8
    for part in ("codec", "discriminator"):
        assert all(torch.isfinite(value).all() for value in state[part].values())
