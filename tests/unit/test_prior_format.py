"""FORMAT.md is enough to read streams by a learned prior: `independent_prior`, from it alone, beside ours."""

from __future__ import annotations

import hashlib

import independent_prior
import numpy as np
import pytest
from prior_models import make_prior


@pytest.mark.parametrize(
    ("sizes", "grids", "windows", "beside"),
    [
        ((6, 70), ((5,), (10,)), 23, 2),
        ((4, 66), ((2, 3), (4, 3)), 7, 3),
        ((9,), ((2, 2, 3),), 5, 1),
    ],
)
def test_streams_by_the_specification(sizes, grids, windows, beside):
    prior = make_prior(sizes, grids, in_time=True)
    tokens = list(prior.sample([(0, n) for n in range(windows)]))
    for level in range(len(sizes)):
        stream = prior.encode(tokens[: level + 1], beside)
        found = independent_prior.decode(stream, windows, grids[level], tokens[:level], prior.arrays)
        for window, expected in enumerate(tokens[level]):
            assert found[window] == {place: int(code) for place, code in np.ndenumerate(expected)}


def test_the_fingerprint_by_the_specification():
    prior = make_prior((6, 70), ((5,), (5,)))
    digest = hashlib.sha256()
    for name in sorted(prior.arrays):
        array = prior.arrays[name]
        kind = {"int8": "i1", "int16": "i2", "int32": "i4", "uint8": "u1"}[str(array.dtype)]
        digest.update(f"{name} {kind} {'x'.join(map(str, array.shape))}\n".encode())
        digest.update(array.tobytes())
    assert prior.fingerprint == digest.hexdigest()


def test_powers_are_far_from_halves():
    """Every machine rounds them to the same whole numbers."""
    powers = np.array([2 ** (20 - i / 32) for i in range(640)])
    off = np.abs(powers - np.floor(powers) - 0.5)
    assert off.min() > 1e-6
