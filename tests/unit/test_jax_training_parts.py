"""The parts of the training in JAX, one by one, against torch's or formulas worked out by hand."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from anycodec.checkpoint import RunDirectory
from anycodec.config.codec import SimVqganSpec
from anycodec.config.data import Pod5Source
from anycodec.config.quantizer import VqSpec
from anycodec.config.run import RunSpec
from anycodec.config.train import OptimizerSpec, TrainSpec
from anycodec.data.loader import open_data
from anycodec.errors import ConfigError, DataError, RunError, UserError
from anycodec.torch.training.batches import TrainBatches as TorchBatches
from anycodec.training.figures import Pooled
from anycodec.training.finite import require_finite
from anycodec.training.sharing import check_shares
from anycodec.training.snapshot import NetworkState, Snapshot, load_snapshot, save_snapshot
from anycodec.training.standing import Progress
from unit.test_training_parts import Counted

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from flax import nnx  # noqa: E402

from anycodec.jax import engine as jax_engine  # noqa: E402
from anycodec.jax import runtime  # noqa: E402
from anycodec.jax.codecs import make_codec  # noqa: E402
from anycodec.jax.training.batches import TrainBatches, validation_batches  # noqa: E402
from anycodec.jax.training.networks import Average, Plan, new_network, random_arrays  # noqa: E402
from anycodec.jax.training.update import averaged, update  # noqa: E402
from anycodec.jax.weights import state_arrays  # noqa: E402
from anycodec.types import Tokens  # noqa: E402

TINY = SimVqganSpec(
    base_channels=8, stem_stride=2, channels=(8,), strides=(2,), res_blocks=1, mid_blocks=1,
    latent_channels=8, norm_groups=4, quantizer=VqSpec(codebook_size=16, kmeans_init=False, codebook_lr=2.0),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def on_cpu() -> None:
    runtime.configure("cpu")


# --- one update ---------------------------------------------------------------------------------------


class Two(nnx.Module):
    """Two parameters, the second with a learning rate of its own."""

    def __init__(self, first: np.ndarray, second: np.ndarray) -> None:
        self.a, self.b = nnx.Param(jnp.asarray(first)), nnx.Param(jnp.asarray(second))


def test_updates_are_those_of_torch() -> None:
    """Clipping, AdamW with decay, two learning rates, over steps of very different gradients."""
    random = np.random.default_rng(0)
    start = [random.normal(size=shape).astype(np.float32) for shape in ((3, 4), (5,))]
    spec = OptimizerSpec(lr=1e-2, betas=(0.8, 0.95), weight_decay=0.1)
    leaves = [torch.nn.Parameter(torch.from_numpy(value.copy())) for value in start]
    groups = [{"params": [leaves[0]]}, {"params": [leaves[1]], "lr": 3e-2}]
    theirs = torch.optim.AdamW(groups, lr=1e-2, betas=spec.betas, weight_decay=0.1)
    ours = new_network(Two(*start), spec)
    structure = jax.tree.structure(ours.params)
    for scale in (1e-3, 1.0, 100.0, 1e-6):
        gradients = [(scale * random.normal(size=value.shape)).astype(np.float32) for value in start]
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = torch.from_numpy(gradient.copy())  # it is clipped in place
        norm = torch.nn.utils.clip_grad_norm_(leaves, 1.0)
        theirs.step()
        tree = jax.tree.unflatten(structure, [jnp.asarray(gradient) for gradient in gradients])
        ours, found = update(ours, tree, jnp.float32(1e-2), spec=spec, clip=1.0, factors=(1.0, 3.0))
        assert float(found) == pytest.approx(norm.item(), rel=1e-6)
        for leaf, value in zip(leaves, jax.tree.leaves(ours.params), strict=True):
            np.testing.assert_allclose(value, leaf.detach().numpy(), rtol=2e-6, atol=1e-7)


def test_average_follows_the_formula() -> None:
    plan = Plan(Two(np.ones(1), np.ones(1)))
    params, _ = plan.apart(Two(np.ones(1), np.ones(1)))
    average = Average(params, jnp.int32(0))
    expected = 1.0
    for number, value in enumerate([2.0, -3.0, 0.5]):
        average = averaged(average, jax.tree.map(lambda leaf, v=value: v * jnp.ones_like(leaf), params), 0.2)
        decay = min(0.2, (1 + number) / (10 + number))  # 0.1, 2/11, 0.2
        expected = decay * expected + (1 - decay) * value
    assert float(plan.named(average.params)["a"][0]) == pytest.approx(expected, rel=1e-6)
    assert int(average.updates) == 3


def test_names_are_those_of_the_weights() -> None:
    codec = make_codec(TINY, 1, seed=0)
    plan = Plan(codec)
    params, rest = plan.apart(codec)
    stored = state_arrays(codec)
    for name, array in plan.named(params).items():
        np.testing.assert_array_equal(array, stored[name])
    assert plan.arrays(params, rest).keys() == stored.keys()
    assert not random_arrays(rest).keys() & stored.keys()
    last = codec.last_layer()
    np.testing.assert_array_equal(plan.leaf(params, last), stored[last])


# --- batches ------------------------------------------------------------------------------------------


class Damaged(Counted):
    def item(self, epoch: int, index: int) -> np.ndarray:
        if index == 3:
            raise DataError("the file ends early", where="a.pod5")
        return super().item(epoch, index)


def steps(windows: Counted, start: int, count: int, workers: int = 0) -> list[list[list[float]]]:
    """The values of each batch of `count` steps of two batches of three."""
    spec = TrainSpec(batch_size=3, accumulate=2)
    made = TrainBatches(
        windows, Pod5Source(workers=workers), spec, start=start, mesh=runtime.make_mesh("cpu")
    )
    batches = iter(made)
    found = [np.asarray(next(batches))[:, :, 0, 0].tolist() for _ in range(count)]
    batches.close()
    return found


@pytest.mark.parametrize("workers", [0, 3])
def test_a_later_start_continues_the_same_batches(workers: int) -> None:
    whole = steps(Counted(7), 0, 7, workers)
    assert steps(Counted(7), 3, 4, workers) == whole[3:]
    seen = [int(value) for step in whole for batch in step for value in batch]
    assert [sorted(seen[i : i + 7]) for i in range(0, 42, 7)] == [
        [100 * epoch + i for i in range(7)] for epoch in range(6)
    ]


def test_an_epoch_takes_some_files_as_in_torch(tmp_path: Path) -> None:
    """Three files of 8 windows, two an epoch: both engines draw the same batches, of two files each epoch."""
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.full((80, 1), number / 10, np.float32))
    spec = RunSpec.model_validate({
        "data": {"type": "array", "root": tmp_path, "window": {"samples": 8}, "files_per_epoch": 2,
                 "normalizer": {"type": "fixed", "low": -1, "high": 1}, "workers": 0,
                 "split": {"type": "time", "ratios": [0.8, 0.1, 0.1]}},
        "codec": {"type": "simvqgan", "channels": [8], "strides": [4]},
        "train": {"batch_size": 4},
    })  # fmt: skip
    windows = open_data(spec).train
    made = TrainBatches(windows, spec.data, spec.train, start=0, mesh=runtime.make_mesh("cpu"))
    theirs = iter(TorchBatches(windows, spec.data, 4, 0))
    ours = iter(made)
    seen = []
    for _ in range(3 * len(windows) // 4):
        batch = np.asarray(next(ours))[0]
        np.testing.assert_array_equal(batch, next(theirs).numpy())
        seen += batch[:, 0, 0].tolist()
    ours.close()
    epochs = np.reshape(seen, (3, len(windows)))
    assert [len(set(epoch)) for epoch in epochs.tolist()] == [2, 2, 2]
    assert len(set(seen)) == 3


def test_an_unreadable_file_is_told_in_its_own_words() -> None:
    with pytest.raises(DataError) as caught:
        steps(Damaged(4), 0, 4, workers=2)
    assert caught.value.where == "a.pod5"


def test_validation_is_spread_over_the_grid() -> None:
    found = validation_batches(Counted(101), batch_size=3, count=2)
    assert [batch[:, 0, 0].tolist() for batch in found] == [[0, 20, 40], [60, 80, 100]]
    assert [len(batch) for batch in validation_batches(Counted(4), 3, 8)] == [3, 1]


# --- figures, state -----------------------------------------------------------------------------------


def test_figures_of_a_validation_are_pooled() -> None:
    """Two batches of different sizes: a wave of power 1/2 and an error of 0.1 everywhere."""
    pooled = Pooled((4, 2))
    wave = np.sin(np.arange(64) * math.tau / 16).astype(np.float32).reshape(4, 1, 16)
    pooled.add(
        wave[:3], wave[:3] + np.float32(0.1), 1.0, [np.array([[0, 1], [0, 1], [0, 1]]), np.zeros((3, 1), int)]
    )
    pooled.add(wave[3:], wave[3:] + np.float32(0.1), 5.0, [np.array([[0, 1]]), np.zeros((1, 1), int)])
    figures = pooled.figures()
    assert figures["val/loss"] == pytest.approx(2.0)  # (3 * 1 + 1 * 5) / 4
    assert figures["val/mse"] == pytest.approx(0.01, rel=1e-5)
    assert figures["val/snr"] == pytest.approx(10 * math.log10(50), rel=1e-5)
    assert figures["val/psnr"] == pytest.approx(10 * math.log10(400), rel=1e-5)
    assert (figures["val/perplexity_0"], figures["val/codes_used_0"]) == (pytest.approx(2.0), 0.5)
    assert (figures["val/perplexity_1"], figures["val/codes_used_1"]) == (pytest.approx(1.0), 0.5)
    assert figures["val/perplexity"] == pytest.approx(1.5)


def snapshot() -> Snapshot:
    network = NetworkState(
        tensors={"w": np.ones((2, 3), np.float32), "n": np.array(7)},
        first={"w": np.full((2, 3), 0.5, np.float32)},
        second={"w": np.full((2, 3), 0.25, np.float32)},
        updates=4,
    )
    progress = Progress(step=4, reference=2.0, stale=1)
    return Snapshot(engine="jax", progress=progress, codec=network, own={"x": np.array([3, 1])})


def test_a_snapshot_comes_back_and_damage_is_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert load_snapshot(run) is None
    save_snapshot(run, snapshot())
    found = load_snapshot(run)
    assert found is not None
    assert (found.progress, found.codec.updates, found.discriminator) == (snapshot().progress, 4, None)
    np.testing.assert_array_equal(found.codec.second["w"], snapshot().codec.second["w"])
    np.testing.assert_array_equal(found.own["x"], [3, 1])
    file = run.resume / "state.safetensors"
    whole = file.read_bytes()
    for content in (b"", b"garbage", whole[:-5], whole.replace(b"average_updates", b"averageXupdates")):
        file.write_bytes(content)
        with pytest.raises(RunError, match="resumable state is damaged"):
            load_snapshot(run)


def test_divergence_names_a_few_culprits() -> None:
    require_finite({"a": 1.0, "b": np.ones(3)}, 5)
    with pytest.raises(RunError, match=r"diverged at step 5: not finite: a, b, c and 2 more"):
        require_finite({name: np.array([1.0, math.inf]) for name in "abcde"}, 5)


# --- devices ------------------------------------------------------------------------------------------


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_an_empty_list_of_gpus_means_the_cpu_and_the_cache_is_where_it_was_asked_for(tmp_path: Path) -> None:
    code = (
        "import jax; from anycodec.jax import runtime; runtime.configure('auto', tf32=False);"
        "print(jax.config.jax_platforms, runtime.make_mesh('auto').size,"
        " jax.config.jax_compilation_cache_dir, jax.config.jax_default_matmul_precision)"
    )
    flags = "--xla_force_host_platform_device_count=3"
    found = python(code, CUDA_VISIBLE_DEVICES="", XLA_CACHE_DIR=str(tmp_path), XLA_FLAGS=flags)
    assert found == f"cpu 3 {tmp_path} highest"


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_GPU_PLUGINS", ())
    with pytest.raises(UserError, match="no GPU build"):
        runtime.configure("cuda")


def test_a_batch_that_devices_cannot_share_is_refused() -> None:
    check_shares(12, 6)
    with pytest.raises(ConfigError, match="use 6 or 12"):
        check_shares(8, 6)
    with pytest.raises(ConfigError, match="use 6, or fewer devices"):
        check_shares(4, 6)


@pytest.mark.parametrize("chunk", [17, 2**20])
def test_chunks_do_not_change_tokens(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = jax_engine.JaxCodec(make_codec(TINY, 1, seed=0), runtime.devices("cpu")[0])
    windows = np.random.default_rng(0).normal(size=(11, 1, 8)).astype(np.float32)
    one_by_one = [codec.encode(windows[i : i + 1]).grids[0] for i in range(11)]
    values = np.concatenate([codec.decode(Tokens((grid,), (16,))) for grid in one_by_one])
    monkeypatch.setattr(jax_engine, "_CHUNK_VALUES", chunk)
    tokens = codec.encode(windows)
    np.testing.assert_array_equal(tokens.grids[0], np.concatenate(one_by_one))
    np.testing.assert_allclose(codec.decode(tokens), values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(codec.reconstruct(windows), values, rtol=1e-5, atol=1e-6)
