"""The resumable state of a training, in one file that appears whole or not at all.

`resume/state.pt` holds tensors and plain values only and is loaded weights-only.
"""

from __future__ import annotations

import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from anycodec.atomic import atomic_path, disk_full
from anycodec.checkpoint import RunDirectory
from anycodec.errors import RunError
from anycodec.training.standing import Progress

FILE = "state.pt"
_WRITER = ("inline_container", "iostream")
"""torch's writer in its errors, which hide what the system said."""


def save_state(run: RunDirectory, state: dict[str, Any]) -> None:
    """Replace the resumable state atomically.

    Raises:
        ResourceError: the disk is full.
    """
    run.resume.mkdir(exist_ok=True)
    with atomic_path(run.resume / FILE) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:
            if not any(name in str(error) for name in _WRITER):
                raise
            raise disk_full(run.resume / FILE) from error


def load_state(run: RunDirectory) -> dict[str, Any] | None:
    """The resumable state on the CPU, None where there is none.

    Raises:
        RunError: the file is damaged or would run code.
    """
    path: Path = run.resume / FILE
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        detail = (str(error) or type(error).__name__).splitlines()[0]
        raise RunError(
            f"the resumable state is damaged: {detail}",
            where=str(path),
            how="remove the resume folder and train again, or restore it from a copy",
        ) from error
    return state


def progress_of(state: dict[str, Any]) -> Progress:
    """Where the training of a resumable state stands.

    Raises:
        RunError: the state is of an earlier version.
    """
    names = [entry.name for entry in fields(Progress)]
    if not all(name in state for name in names):
        raise RunError(
            "the resumable state was written by an earlier version of anycodec",
            how="continue with that version, or remove the resume folder and train again",
        )
    return Progress(**{name: state[name] for name in names})


def random_state() -> dict[str, Any]:
    """State of torch's generators."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what `random_state` gave."""
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and "cuda" in state:
        torch.cuda.set_rng_state_all(state["cuda"])
