"""`anycodec doctor`: versions, devices, optional parts, and what is wrong with the installation.

Packages are looked up, not imported, so the answer is quick and a broken package can't take the doctor
down; torch, which must be asked about devices, answers from a process of its own.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rich.table import Table

from anycodec import __version__
from anycodec.processors import processors
from anycodec.workflows.console import out as console
from anycodec.workflows.probe import JaxState, NoAnswer, ask, jax_problem, jax_rows, probe_jax

REQUIRED = (
    "torch", "pytorch-lightning", "pydantic", "typer", "rich", "PyYAML", "numpy", "numba", "scipy", "pandas",
    "pyarrow", "pillow", "constriction", "google-crc32c", "fsspec", "safetensors", "torchmetrics",
    "matplotlib",
)  # fmt: skip
"""Distributions that every installation has, as in pyproject.toml."""


@dataclass(frozen=True, slots=True)
class Extra:
    """An optional part: what it is for and the distributions it needs."""

    purpose: str
    distributions: tuple[str, ...]


EXTRAS: Mapping[str, Extra] = {
    "pod5": Extra("read and write nanopore POD5", ("pod5",)),
    "video": Extra("read and write video", ("av",)),
    "jax": Extra("the second engine", ("jax", "flax", "optax", "orbax-checkpoint")),
    "basecalls": Extra("bases called from nanopore current", ("fast-ctc-decode", "mappy", "edlib")),
    "features": Extra("DINOv2 or an ONNX file: FID, KID, alignment", ("onnxruntime",)),
    "hub": Extra("vision models by name, to align latents with", ("transformers",)),
    "track": Extra("TensorBoard and Weights & Biases", ("tensorboard", "wandb")),
    "ray": Extra("tokens on a cluster", ("ray",)),
    "sweep": Extra("searches over settings", ("optuna",)),
    "remote": Extra("data in object stores: s3://", ("s3fs",)),
    "web": Extra("the web page", ("gradio",)),
    "export": Extra(
        "ONNX and the Hugging Face hub", ("onnx", "onnxscript", "onnxruntime", "huggingface_hub")
    ),
    "generate": Extra("generators and their schedulers", ("diffusers",)),
}
"""Optional parts by the name of their extra, as in pyproject.toml."""

CONFLICTING = ("lightning", "torchvision")
"""Distributions that anycodec does not use and that can break the ones it does."""

LOW_DISK_BYTES = 2 * 2**30

TORCH_PROBE = """
import json, torch
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"cuda": torch.version.cuda, "devices": names}))
"""


@dataclass(frozen=True, slots=True)
class TorchState:
    """What torch says of itself.

    Attributes:
        cuda: the CUDA version it was built for, None for a CPU build.
        devices: names of the CUDA devices that it can use.
        failure: why it can't be imported, None where it can.
    """

    cuda: str | None = None
    devices: tuple[str, ...] = ()
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to mend, and how."""

    what: str
    how: str
    fatal: bool = False


def run() -> int:
    """Print what is installed and what is wrong; 1 if anycodec can't work like this, else 0."""
    distributions = (
        *REQUIRED,
        *CONFLICTING,
        *(name for extra in EXTRAS.values() for name in extra.distributions),
    )
    versions = installed(distributions)
    torch = probe_torch() if "torch" in versions else TorchState()
    jax = probe_jax() if "jax" in versions else None
    gpus = nvidia_gpus()
    free = shutil.disk_usage(Path.cwd()).free
    problems = find_problems(versions, torch, gpus, free)
    of_jax = jax_problem(jax, gpus) if jax else None
    if of_jax:
        problems.append(Problem(*of_jax))
    for table in (
        _versions_table(versions),
        _machine_table(versions, torch, jax, gpus, free),
        _extras_table(versions),
    ):
        console.print(table)
        console.print()
    for problem in problems:
        colour = "red" if problem.fatal else "yellow"
        console.print(f"[{colour}]{problem.what}[/{colour}]\n  mend:  {problem.how}", soft_wrap=True)
    if not problems:
        console.print("[green]no problems found[/green]")
    return int(any(problem.fatal for problem in problems))


def installed(distributions: Sequence[str]) -> dict[str, str]:
    """Versions of those of the distributions that are installed."""
    versions = {}
    for name in distributions:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def missing_of(extra: Extra, versions: Mapping[str, str]) -> tuple[str, ...]:
    """The distributions of an optional part that are not installed."""
    return tuple(name for name in extra.distributions if name not in versions)


def probe_torch() -> TorchState:
    """Import torch in another process and ask it for its devices."""
    try:
        state = ask(TORCH_PROBE)
    except NoAnswer as error:
        return TorchState(failure=str(error))
    return TorchState(cuda=state["cuda"], devices=tuple(state["devices"]))


def nvidia_gpus() -> tuple[str, ...]:
    """NVIDIA GPUs that the driver knows, whether or not torch can use them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    try:
        answer = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(line for line in answer.stdout.splitlines() if line.startswith("GPU"))


def find_problems(
    versions: Mapping[str, str], torch: TorchState, gpus: Sequence[str], free_bytes: int
) -> list[Problem]:
    """Everything worth mending, the worst first.

    Args:
        versions: of the installed distributions.
        torch: what torch says of itself.
        gpus: NVIDIA GPUs that the driver knows.
        free_bytes: free disk space in the working folder.
    """
    problems = []
    missing = [name for name in REQUIRED if name not in versions]
    if missing:
        problems.append(
            Problem(f"required but not installed: {', '.join(missing)}", "pip install anycodec", fatal=True)
        )
    if torch.failure:
        how = f"reinstall it: pip install --force-reinstall 'torch=={versions.get('torch')}'"
        problems.append(Problem(f"torch can't be imported: {torch.failure}", how, fatal=True))
    elif gpus and not torch.devices and "torch" in versions:
        problems.append(_unused_gpu(torch))
    if "lightning" in versions and "pytorch-lightning" in versions:
        what = "lightning and pytorch-lightning are both installed: their classes look alike but don't mix"
        problems.append(Problem(what, "pip uninstall lightning"))
    if "torchvision" in versions and "torch" in versions and torch.cuda is None and not torch.failure:
        what = "torchvision beside a CPU build of torch: it may fail to import, and so what imports it"
        problems.append(Problem(what, "pip uninstall torchvision (anycodec does not use it)"))
    if free_bytes < LOW_DISK_BYTES:
        problems.append(
            Problem(f"only {_gib(free_bytes)} of disk space left here", "free some, or work elsewhere")
        )
    return problems


def _unused_gpu(torch: TorchState) -> Problem:
    if torch.cuda is None:
        return Problem(
            "an NVIDIA GPU is present, but this torch is a CPU build",
            "pip uninstall torch, then pip install torch (in a checkout: rm -rf .venv and make again)",
        )
    return Problem(
        f"an NVIDIA GPU is present, but torch (built for CUDA {torch.cuda}) can't use it",
        "update the NVIDIA driver, or check CUDA_VISIBLE_DEVICES",
    )


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _versions_table(versions: Mapping[str, str]) -> Table:
    table = _table("versions")
    table.add_row("anycodec", __version__)
    table.add_row("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in REQUIRED:
        table.add_row(name, versions.get(name, "[red]missing[/red]"))
    return table


def _machine_table(
    versions: Mapping[str, str],
    torch: TorchState,
    jax: JaxState | None,
    gpus: Sequence[str],
    free_bytes: int,
) -> Table:
    table = _table("machine")
    table.add_row("CPU cores", str(processors()))
    table.add_row("memory", _gib(_memory_bytes()))
    table.add_row("CUDA devices", ", ".join(torch.devices) or ("none that torch can use" if gpus else "none"))
    for row in jax_rows(versions, jax) if jax else ():
        table.add_row(*row)
    table.add_row("disk", f"{_gib(free_bytes)} free in {Path.cwd()}")
    table.add_row("WANDB_API_KEY", "set" if os.environ.get("WANDB_API_KEY") else "not set")
    return table


def _extras_table(versions: Mapping[str, str]) -> Table:
    table = _table("optional parts")
    table.add_column(overflow="fold")
    for name, extra in EXTRAS.items():
        missing = missing_of(extra, versions)
        state = f"pip install 'anycodec\\[{name}]'" if missing else "[green]present[/green]"
        table.add_row(name, extra.purpose, state)
    return table


def _memory_bytes() -> int:
    """Physical memory, or the container's limit where that is lower."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return min(physical, int(text)) if text.isdecimal() else physical


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB"
