"""Weights of a run's networks, as safetensors."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from anycodec.errors import RunError

_SHOWN = 8


def load_weights(network: nn.Module, path: Path) -> None:
    """Give a network the state in a file: all of it, and nothing else.

    Raises:
        RunError: missing, damaged, or of another network; lists what does not fit.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise RunError(f"damaged weights: {error}", where=str(path)) from error
    expected = {name: value.shape for name, value in network.state_dict().items()}
    problems = [f"missing {name}" for name in expected.keys() - tensors.keys()]
    problems += [f"unknown {name}" for name in tensors.keys() - expected.keys()]
    problems += [
        f"{name} is {list(tensors[name].shape)}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if problems:
        raise RunError(
            "the weights do not belong to the configuration: " + "; ".join(sorted(problems)[:_SHOWN]),
            where=str(path),
            how="use the config.yaml and weights.safetensors of one run",
        )
    network.load_state_dict(tensors)
