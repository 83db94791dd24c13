"""What frameworks say of themselves, each asked in a process of its own: a broken one takes nothing down."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anycodec.cache import compiled_programs

SECONDS = 120
JAX_PROBE = """
import json, os
if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
    os.environ["JAX_PLATFORMS"] = "cpu"
import jax
print(json.dumps({"devices": [f"{d.platform} {d.device_kind}" for d in jax.devices()]}))
"""
JAX_PARTS = ("jax", "flax", "optax", "orbax-checkpoint")
"""Distributions of the engine jax."""


class NoAnswer(Exception):
    """Why a framework can't be asked."""


def ask(code: str) -> dict[str, Any]:
    """The JSON object that a piece of Python prints last.

    Raises:
        NoAnswer: it failed, or took too long.
    """
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NoAnswer(f"no answer within {SECONDS} s") from error
    if answer.returncode != 0:
        lines = answer.stderr.strip().splitlines()
        raise NoAnswer(lines[-1] if lines else f"exit code {answer.returncode}")
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


@dataclass(frozen=True, slots=True)
class JaxState:
    """What JAX says of itself.

    Attributes:
        devices: platform and kind of those it computes on.
        failure: why it can't be asked, None where it can.
    """

    devices: tuple[str, ...] = ()
    failure: str | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether one of the devices is a GPU."""
        return any(device.startswith(("gpu", "cuda", "rocm")) for device in self.devices)


def probe_jax() -> JaxState:
    """Import JAX in another process and ask it for its devices."""
    try:
        return JaxState(devices=tuple(ask(JAX_PROBE)["devices"]))
    except NoAnswer as error:
        return JaxState(failure=str(error))


def jax_rows(versions: Mapping[str, str], state: JaxState) -> list[tuple[str, str]]:
    """What to show of an engine jax that is installed."""
    parts = [f"{name} {versions.get(name, 'missing')}" for name in JAX_PARTS]
    return [
        ("engine jax", ", ".join(parts)),
        ("JAX devices", ", ".join(state.devices) or "none"),
        ("compiled programs", f"in {compiled_programs()}"),
    ]


def jax_problem(state: JaxState, gpus: Sequence[str]) -> tuple[str, str] | None:
    """What is wrong with it and how to mend that, None where nothing is."""
    if state.failure:
        return f"jax can't be imported: {state.failure}", "reinstall it: pip install -U 'anycodec[jax]'"
    if gpus and not state.on_gpu:
        return (
            "an NVIDIA GPU is present, but jax computes on the CPU",
            "pip install -U 'jax[cuda12]', or check CUDA_VISIBLE_DEVICES and the driver",
        )
    return None
