"""Published implementations' weights and outputs (tests/golden/*/README.md names their sources)."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anycodec.torch.codecs import make_codec
from anycodec.torch.importers import make_importer

GOLDEN = Path(__file__).parents[1] / "golden"
SHARED = Path(__file__).parents[3] / "shared" / "goldens"
"""Goldens of more than 1.5 MB, beside the developers' checkouts."""


def load_golden(case):
    """The reference's weights, and its inputs and outputs."""
    folder = GOLDEN / case if (GOLDEN / case).is_dir() else SHARED / case
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here: it is too large for the project")
    return load_file(folder / "weights.safetensors"), load_file(folder / "io.safetensors")


def assert_equal_to_scale(actual, expected, tolerance=1e-5):
    """Differences stay below `tolerance` times the largest value."""
    difference = (actual.detach() - expected).abs().max()
    assert difference <= tolerance * expected.abs().max(), f"differs by {difference:.3g}"


def imported(source, tensors, config=None):
    """A codec with published weights, through the importer, in evaluation mode."""
    found = make_importer(source).codec_tensors(tensors, config)
    codec = make_codec(found.spec, found.in_channels)
    codec.load_state_dict({name: torch.from_numpy(array) for name, array in found.tensors.items()})
    return codec.eval()
