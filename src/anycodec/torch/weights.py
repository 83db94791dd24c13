"""Weights of a run's networks, as safetensors."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from anycodec.checkpoint import check_arrays
from anycodec.errors import RunError


def stored_shape(path: Path, name: str) -> tuple[int, ...] | None:
    """Shape of a tensor in a file, None where it is not there or the file is damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            return tuple(file.get_slice(name).get_shape()) if name in file.keys() else None  # noqa: SIM118
    except (SafetensorError, OSError):
        return None


def load_weights(network: nn.Module, path: Path, *, anew: tuple[str, ...] = ()) -> None:
    """Give a network the state in a file: all of it, and nothing else.

    Args:
        network: the network.
        path: safetensors.
        anew: ends of names that the network or the file may have alone: the network's stay as they are, the
            file's are left out.

    Raises:
        RunError: missing, damaged, or of another network; lists what does not fit.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise RunError(f"damaged weights: {error}", where=str(path)) from error
    state = network.state_dict()
    tensors = {name: value for name, value in tensors.items() if name in state or not name.endswith(anew)}
    tensors |= {name: state[name] for name in state.keys() - tensors.keys() if name.endswith(anew)}
    expected = {name: tuple(value.shape) for name, value in state.items()}
    check_arrays({name: tuple(value.shape) for name, value in tensors.items()}, expected, str(path))
    network.load_state_dict(tensors)
