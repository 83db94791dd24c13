"""Published implementations' weights and outputs (tests/golden/*/README.md names their sources)."""

from pathlib import Path

import torch
from safetensors.torch import load_file

GOLDEN = Path(__file__).parents[1] / "golden"


def load_golden(case):
    """The reference's weights, and its inputs and outputs."""
    return load_file(GOLDEN / case / "weights.safetensors"), load_file(GOLDEN / case / "io.safetensors")


def assert_equal_to_scale(actual, expected, tolerance=1e-5):
    """Differences stay below `tolerance` times the largest value."""
    difference = (actual.detach() - expected).abs().max()
    assert difference <= tolerance * expected.abs().max(), f"differs by {difference:.3g}"


def load_renamed(module, tensors, names):
    """Load a reference's tensors, each by the name that it has here; none may be missing or left over.

    Args:
        module: ours.
        tensors: the reference's state.
        names: our module prefix -> the reference's.
    """
    parameters = dict(module.named_parameters())
    theirs = {}
    for name in parameters:
        prefix = max((p for p in names if name.startswith(p + ".") or name == p), key=len)
        theirs[name] = names[prefix] + name.removeprefix(prefix)
    assert set(theirs.values()) == set(tensors)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[theirs[name]].reshape(parameter.shape))
