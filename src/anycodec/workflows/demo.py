"""`anycodec demo`: the main job on built-in data, from raw reads to a report, in a few minutes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from anycodec.checkpoint import RunDirectory
from anycodec.config.codec import SimVqganSpec
from anycodec.config.data import Pod5Source, Window1d
from anycodec.config.quantizer import EmaSpec, ResidualSpec
from anycodec.config.run import RunSpec
from anycodec.config.train import OptimizerSpec, TrainSpec
from anycodec.errors import UserError
from anycodec.workflows import compress, decompress, evaluate, samples
from anycodec.workflows.console import out as console
from anycodec.workflows.train import train

_PARTS = ("data", "run", "compressed", "restored")
STEPS = 400


def run(out: Path) -> int:
    """Sample POD5 -> train -> compress -> decompress -> evaluate -> report.

    Raises:
        UserError: `out` holds something that is not an earlier demo.
    """
    _clear(out)
    data, folder, compressed, restored = (out / part for part in _PARTS)
    _stage("1/5 sample data", lambda: samples.run(kind="nanopore", out=data, seed=0, size="small"))
    _stage("2/5 training", lambda: train(spec(data), RunDirectory(folder), resume=False, quiet=False))
    files = sorted(data.rglob("*.pod5"))[:1]
    _stage("3/5 compressing", lambda: compress.run(folder, files, compressed, "auto", coarse=True))
    packed = sorted(compressed.rglob("*.acz"))
    _stage("4/5 decompressing", lambda: decompress.run(files=packed, out=restored, run=None, device="auto"))
    _stage("5/5 evaluating", lambda: evaluate.run(run=folder, inputs=[], device="auto"))
    console.print(
        f"\nopen {RunDirectory(folder).report} to look at it; inspect {packed[0]} with `anycodec inspect`"
    )
    return 0


def spec(data: Path) -> RunSpec:
    """A small codec, two tokens every 8 samples, that trains in about a minute on two cores."""
    return RunSpec(
        name="demo",
        data=Pod5Source(root=data, sample_rate=5000, window=Window1d(samples=3072)),
        codec=SimVqganSpec(
            base_channels=64, stem_stride=4, channels=(96,), strides=(2,), latent_channels=16,
            res_blocks=1, mid_blocks=2, norm_groups=8, patch_skip=True,
            quantizer=ResidualSpec(stages=2, beam=8, quantizer=EmaSpec(codebook_size=1024, restart_after=0)),
        ),
        train=TrainSpec(
            steps=STEPS, batch_size=16, precision="bf16", ema=0.99, val_every=100, checkpoint_every=200,
            optimizer=OptimizerSpec(lr=1e-3),
        ),
    )  # fmt: skip


def _clear(out: Path) -> None:
    """Remove an earlier demo, and nothing else."""
    if not out.exists():
        return
    foreign = [path for path in out.iterdir() if path.name not in _PARTS]
    if foreign or ((out / "run").exists() and RunDirectory(out / "run").spec().name != "demo"):
        raise UserError(
            "the folder holds something that is not an earlier demo",
            where=str(out),
            how="choose another with --out",
        )
    for part in _PARTS:
        shutil.rmtree(out / part, ignore_errors=True)


def _stage(title: str, work: Callable[[], object]) -> None:
    console.print(f"\n[bold]{title}[/bold]")
    begin = time.perf_counter()
    work()
    console.print(f"({time.perf_counter() - begin:.0f} s)", style="dim")
