"""A training step of the engine jax against the same step of the engine torch.

The nanopore system's network with base 32: channels 32, 32, 64, 64, 128, 192x, GroupNorm of 32 groups,
SimVQ with 4096 codes; batch 8 of 24,000 samples. A step = forward, L1 + quantizer's terms, backward,
clipping, AdamW. Both start from one file of weights, so that the losses must agree: the first steps'
are compared.

Each engine runs in processes of its own, in turns: threads, allocators and XLA flags don't mix. A GPU is
measured too where both engines have one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common

TARGET = 1.3
SAME_LOSS = 1e-3
"""Largest relative difference of the losses of the first steps."""
WINDOW = 24_000
"""4.8 s at 5 kHz."""
ENGINES = ("torch", "jax")


def settings(quick: bool, precision: str) -> dict[str, Any]:
    """The configuration, without data."""
    small = {"base_channels": 8, "channels": [8, 8], "strides": [4, 3], "latent_channels": 8}
    full = {
        "base_channels": 32,
        "channels": [32, 64, 64, 128],
        "strides": [4, 4, 4, 3],
        "latent_channels": 128,
        "norm_groups": 32,
    }
    simvq = {"type": "simvq", "kmeans_init": False, "restart_after": 0}
    codec = {"type": "simvqgan", "quantizer": simvq | {"codebook_size": 16 if quick else 4096}}
    return {
        "data": {"type": "pod5", "window": {"samples": 240 if quick else WINDOW}},
        "codec": codec | (small if quick else full),
        "losses": {"l1": {"type": "l1"}},
        "train": {
            "batch_size": 2 if quick else 8,
            "precision": precision,
            "schedule": {"type": "constant"},
        },
    }


# --- one engine, in a process of its own --------------------------------------------------------


def torch_step(spec: Any, x: Any, weights: Path, device: str) -> tuple[Callable[[], float], float]:
    """A step that gives its loss; seconds of compilation: none."""
    import torch
    from safetensors.torch import load_file

    from anycodec.torch.codecs import make_codec
    from anycodec.torch.losses import make_losses
    from anycodec.torch.training.module import CodecTraining, adamw, parameter_groups

    if spec.train.threads:
        torch.set_num_threads(spec.train.threads)
    codec = make_codec(spec.codec, 1)
    codec.load_state_dict(load_file(weights))
    module = CodecTraining(codec, make_losses(spec.losses), {"l1": 1.0}, spec.train).to(device).train()
    optimizer = adamw(parameter_groups(codec, spec.train.optimizer.lr), spec.train.optimizer)
    batch = torch.from_numpy(x).to(device)

    def step() -> float:
        with torch.autocast(device, torch.bfloat16, enabled=spec.train.precision == "bf16"):
            loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), spec.train.clip)
        optimizer.step()
        return loss.item()

    return step, 0.0


def jax_step(spec: Any, x: Any, weights: Path, device: str) -> tuple[Callable[[], float], float]:
    """A step that gives its loss; seconds of compilation."""
    import jax
    from safetensors.numpy import load_file

    from anycodec.jax import runtime
    from anycodec.jax.training.contest import Phase
    from anycodec.jax.training.loop import make_parts, make_step
    from anycodec.jax.training.networks import on_devices
    from anycodec.jax.training.resume import new_state
    from anycodec.jax.training.session import Controls
    from anycodec.jax.weights import load_arrays

    runtime.configure(device, threads=spec.train.threads)
    jax.config.update("jax_enable_compilation_cache", False)
    mesh = runtime.make_mesh(device)
    parts = make_parts(spec, 1)
    load_arrays(parts.codec, load_file(weights), str(weights))
    step, controls = make_step(spec, parts, mesh), Controls(spec)
    state = on_devices(new_state(spec, parts.codec, None), mesh)
    batch = jax.device_put(x[None], runtime.split(mesh, 1))
    seconds = step.compile(state, batch, controls.now(0), Phase())

    def once() -> float:
        nonlocal state
        done = step(state, batch, controls.now(0), Phase())
        state = done.state
        return float(done.shown["loss"])

    return once, seconds


def child(engine: str, folder: Path, steps: int, device: str) -> None:
    """Print what a process measures, as JSON."""
    import numpy as np

    from anycodec.config.run import RunSpec

    spec = RunSpec.model_validate(json.loads((folder / "settings.json").read_text()))
    make = {"torch": torch_step, "jax": jax_step}[engine]
    step, compile_seconds = make(spec, np.load(folder / "x.npy"), folder / "weights.safetensors", device)
    losses = [step(), step()]
    begin = time.process_time()
    times = [common.seconds(step) for _ in range(steps)]
    work = (time.process_time() - begin) / steps
    print(json.dumps({"losses": losses, "times": times, "work": work, "compile": compile_seconds}))


# --- both, in turns -----------------------------------------------------------------------------


def prepare(folder: Path, quick: bool, precision: str, threads: int | None) -> None:
    """The configuration, windows and weights that both start from."""
    import numpy as np

    from anycodec.checkpoint import write_arrays
    from anycodec.config.run import RunSpec
    from anycodec.jax.codecs import make_codec
    from anycodec.jax.weights import state_arrays

    chosen = settings(quick, precision)
    chosen["train"]["threads"] = threads
    (folder / "settings.json").write_text(json.dumps(chosen))
    spec = RunSpec.model_validate(chosen)
    samples = chosen["data"]["window"]["samples"]
    shape = (chosen["train"]["batch_size"], 1, samples)
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=shape).astype(np.float32))
    write_arrays(folder / "weights.safetensors", state_arrays(make_codec(spec.codec, 1, 0)))


def compare(folder: Path, steps: int, turns: int, device: str) -> dict[str, Any]:
    """Medians of all processes of an engine, and what the engines differ by."""
    found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
    for _ in range(turns):
        for engine in ENGINES:
            command = common.python(__file__, "--child", engine, "--folder", folder, "--steps", str(steps))
            done = common.run([*command, "--device", device])
            measured = json.loads(done.output.splitlines()[-1])
            found[engine].append(measured | {"peak_mib": done.peak_rss / common.MIB})
    medians = {engine: [statistics.median(turn["times"]) for turn in found[engine]] for engine in ENGINES}
    losses = {engine: found[engine][0]["losses"] for engine in ENGINES}
    pairs = zip(losses["jax"], losses["torch"], strict=True)
    return {
        "seconds": {engine: statistics.median(medians[engine]) for engine in ENGINES},
        "jax_over_torch": common.ratio(medians, "jax", "torch"),
        "core_seconds": {
            engine: statistics.median(turn["work"] for turn in found[engine]) for engine in ENGINES
        },
        "of_each_turn": [a / b for a, b in zip(medians["jax"], medians["torch"], strict=True)],
        "peak_mib": {engine: max(turn["peak_mib"] for turn in found[engine]) for engine in ENGINES},
        "compile_seconds": statistics.median(turn["compile"] for turn in found["jax"]),
        "losses": losses,
        "largest_difference_of_losses": max(abs(a - b) / abs(b) for a, b in pairs),
    }


def devices() -> list[str]:
    """Where both engines can compute; asked in processes of their own."""
    torch = "import torch; print(torch.cuda.is_available())"
    jax = "import jax; print(any(d.platform == 'gpu' for d in jax.devices()))"
    both = all(common.run(common.python("-c", code)).output.strip().endswith("True") for code in (torch, jax))
    return ["cpu", "cuda"] if both else ["cpu"]


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--turns", type=int, default=3, help="processes of each engine")
    parser.add_argument("--steps", type=int, default=8, help="measured steps a process")
    parser.add_argument("--threads", type=int, help="CPU threads of both; default: all cores")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], help="of the step")
    parser.add_argument("--child", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cpu", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.folder, options.steps, options.device)
        return
    if options.quick:
        options.turns, options.steps, options.precision = 1, 2, ["fp32"]
    began = time.time()
    results: dict[str, Any] = {}
    claims = []
    for device in ["cpu"] if options.quick else devices():
        for precision in options.precision:
            with common.workspace() as folder:
                prepare(folder, options.quick, precision, options.threads)
                found = compare(folder, options.steps, options.turns, device)
            results[f"{device} {precision}"] = found
            times = ", ".join(f"{engine} {found['seconds'][engine]:.3f} s" for engine in ENGINES)
            print(f"{device} {precision}: {times}")
            if precision == "fp32":
                where = f"step of jax over step of torch ({device}, {precision})"
                claims.append(common.verdict(where, found["jax_over_torch"], TARGET, below=True))
                same = found["largest_difference_of_losses"]
                claims.append(common.verdict(f"difference of losses ({device})", same, SAME_LOSS, below=True))
    common.save("engines", options, {"took": time.time() - began, "claims": claims, **results})


if __name__ == "__main__":
    sys.exit(main())
