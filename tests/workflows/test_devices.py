"""One training by several processes: what they learn, whatever their number, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anycodec.checkpoint import RunDirectory, read_arrays
from anycodec.config.loader import load_spec
from anycodec.config.run import RunSpec
from anycodec.config.train import LoopSpec
from anycodec.errors import ConfigError, UserError
from anycodec.torch.parallel.place import Place, find_place
from anycodec.training.sharing import effective
from anycodec.workflows import samples
from anycodec.workflows.train import train

CONFIG = """\
data: {type: pod5, window: {samples: 96}, workers: 0}
codec:
  type: simvqgan
  base_channels: 8
  stem_stride: 4
  channels: [8]
  strides: [2]
  latent_channels: 8
  norm_groups: 4
  quantizer: {type: ema, codebook_size: 16, restart_after: 5, kmeans_after: 3}
train:
  steps: 18
  batch_size: 4
  accumulate: 2
  ema: 0.9
  val_every: 6
  val_batches: 2
  checkpoint_every: 5
  log_every: 1
  device: cpu
  threads: 1
  schedule: {type: constant, warmup: 4}
"""
ADVERSARIAL = """\
adversarial:
  start: 2
  lead: 2
  ramp: 0
  feature_matching: 1
  noise: {scale: 0.1}
  discriminator: {type: patchgan, base_channels: 4, layers: 2, norm: batch}
"""


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reads") / "data"
    samples.run("nanopore", folder, seed=1, size="small")
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(CONFIG)
    return path


def trained(spec: RunSpec, run: Path, resume: bool = False) -> RunDirectory:
    directory = RunDirectory(run)
    train(spec, directory, resume=resume, quiet=True)
    return directory


def state(run: RunDirectory) -> dict[str, torch.Tensor]:
    """Tensors by name, without the state of random numbers and a figure of each part of a batch."""
    found = torch.load(run.resume / "state.pt", weights_only=True)
    flat: dict[str, torch.Tensor] = {}

    def collect(tree: Any, name: str) -> None:
        pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
        for key, value in pairs:
            collect(value, f"{name}.{key}")
        if isinstance(tree, torch.Tensor) and not name.endswith("gradient_ratio"):
            flat[name] = tree

    collect({key: value for key, value in found.items() if key != "random"}, "")
    return flat


def assert_close(one: RunDirectory, other: RunDirectory) -> None:
    """Equal up to the order in which float32 numbers were added."""
    first, second = state(one), state(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(
            second[name], value, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_the_number_of_processes_may_change_and_leaves_no_trace(
    config: Path, reads: Path, tmp_path: Path
) -> None:
    """Averaged codes and weights, restarts and accumulation; 1, then 2, then 1 process against 1."""
    root = f"data.root={reads}"
    whole = trained(load_spec(config, [root]), tmp_path / "whole")
    parts = tmp_path / "parts"
    for devices, steps in ((1, 6), (2, 12), (1, 18)):
        spec = load_spec(config, [root, f"train.devices={devices}", f"train.steps={steps}"])
        run = trained(spec, parts, resume=parts.exists())
    assert_close(whole, run)
    one, other = (read_arrays(x.statistics) for x in (whole, run))
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, rtol=1e-6, atol=4, err_msg=name)  # a tie or two
    files = [{path.relative_to(x.path) for path in x.path.rglob("*")} for x in (whole, run)]
    assert files[0] == files[1]


def test_divided_weights_learn_the_same_and_are_stored_whole(
    config: Path, reads: Path, tmp_path: Path
) -> None:
    """FSDP in two processes, and what it stored goes on in one."""
    root = [f"data.root={reads}", "train.val_every=4"]
    whole = trained(load_spec(config, [*root, "train.steps=8"]), tmp_path / "whole")
    parts = tmp_path / "parts"
    for settings in (["train.steps=4", "train.devices=2", "train.strategy=fsdp"], ["train.steps=8"]):
        run = trained(load_spec(config, [*root, *settings]), parts, resume=parts.exists())
    assert_close(whole, run)


def test_codec_and_discriminator_learn_the_same_in_two_processes(
    config: Path, reads: Path, tmp_path: Path
) -> None:
    """K-means start, normalisation over the batch, the adaptive weight and noise of the whole batch."""
    adversarial = tmp_path / "adversarial.yaml"
    adversarial.write_text(CONFIG + ADVERSARIAL)
    root = [f"data.root={reads}", "train.steps=6"]
    one = trained(load_spec(adversarial, root), tmp_path / "one")
    two = trained(load_spec(adversarial, [*root, "train.devices=2"]), tmp_path / "two")
    assert_close(one, two)
    assert torch.equal(*(torch.load(x.resume / "state.pt", weights_only=True)["noise"] for x in (one, two)))


@pytest.mark.parametrize(
    ("settings", "environ", "message"),
    [
        ({"devices": 3}, {}, "3 devices can't share a batch of 16 evenly[\\s\\S]*use 15 or 18"),
        ({"strategy": "ddp"}, {}, "train.strategy[\\s\\S]*--devices N"),
        ({"devices": 2, "num_nodes": 2}, {}, "which of the machines this is[\\s\\S]*MASTER_ADDR"),
        (
            {"devices": 4},
            {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"},
            "the launcher started 2 processes a machine, the configuration says 4",
        ),
    ],
)
def test_what_can_not_work_is_refused(
    settings: dict[str, Any], environ: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        find_place(LoopSpec(**settings), environ)


def test_places() -> None:
    launched = {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "a",
    }
    assert find_place(LoopSpec(), launched) == Place(3, 4, 1, 2, "a", 29500, launched=True)
    second = {"NODE_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "5"}
    assert find_place(LoopSpec(devices=4, num_nodes=2), second) == Place(4, 8, 0, 4, "a", 5)
    assert find_place(LoopSpec(), {}).alone


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="4 processes need a GPU each, this machine has 2"):
        Place(size=4, local_size=4).device("auto")
    assert Place(rank=1, size=2, local_rank=1, local_size=2).device("auto") == torch.device("cuda", 1)
    assert Place(size=4, local_size=4).device("cpu") == torch.device("cpu")


def test_the_effective_batch_is_stated() -> None:
    spec = LoopSpec(batch_size=12)
    assert effective(spec, 2, 3, "ddp").startswith(
        "24 a step = 4 x 3 devices (ddp) x 2 batches; learning rate"
    )
    assert effective(spec, 1, 1) == "12 a step; learning rate 0.0003, cosine schedule"


def test_single_weights_are_not_for_fsdp(config: Path, reads: Path, tmp_path: Path) -> None:
    (tmp_path / "adversarial.yaml").write_text(CONFIG + ADVERSARIAL)
    settings = [f"data.root={reads}", "train.devices=2", "train.strategy=fsdp", "train.precision=fp16"]
    with pytest.raises(ConfigError, match=r"adversarial looks at single ones[\s\S]*no loss scale for fp16"):
        load_spec(tmp_path / "adversarial.yaml", settings)
    with pytest.raises(ConfigError, match="fsdp divides the weights of codecs only"):
        find_place(LoopSpec(devices=2, strategy="fsdp"), {}, divides=False)


def test_a_batch_that_does_not_divide_is_refused_before_the_run_exists(
    config: Path, reads: Path, tmp_path: Path
) -> None:
    spec = load_spec(config, [f"data.root={reads}", "train.devices=3"])
    with pytest.raises(ConfigError, match="3 devices can't share a batch of 4"):
        trained(spec, tmp_path / "run")
    assert not RunDirectory(tmp_path / "run").config.exists()
