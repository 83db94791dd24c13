"""Layers of networks in vector registers: the sums of the definition, by every instruction that is there."""

import numpy as np
import pytest
from numba import njit
from numba.core.registry import cpu_target

from anycodec.bitstream.dot_products import INSTRUCTIONS, arranged, chosen, layer, room_for, summing

FEATURES = cpu_target.target_context.codegen().magic_tuple()[2]


def case(outputs, inputs, largest=2**15 - 1, seed=0):
    """Weights, inputs and biases; the sums that Python's integers give."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-largest, largest + 1, (outputs, inputs)).astype(np.int16)
    u = rng.integers(-4095, 4096, inputs).astype(np.int16)
    bias = rng.integers(-(2**20), 2**20, outputs).astype(np.int32)
    expected = [
        sum(int(w) * int(x) for w, x in zip(row, u, strict=True)) + int(one)
        for row, one in zip(weights, bias, strict=True)
    ]
    return weights, u, bias, expected


def padded(weights, u, bias):
    """As `layer` wants them, and room for the sums."""
    outputs = room_for(len(bias), outputs=True)
    return (
        np.pad(u, (0, room_for(len(u), outputs=False) - len(u))),
        arranged(weights),
        np.pad(bias, (0, outputs - len(bias))),
        np.full(outputs, -1, np.int32),
    )


@pytest.mark.parametrize(("outputs", "inputs"), [(1, 1), (12, 64), (32, 5), (33, 4), (96, 39), (64, 96)])
def test_sums_are_those_of_the_definition(outputs, inputs):
    weights, u, bias, expected = case(outputs, inputs, 2**20 // inputs if inputs > 32 else 2**12)
    arguments = padded(weights, u, bias)
    layer(*arguments)
    assert arguments[3][:outputs].tolist() == expected
    assert not arguments[3][outputs:].any()


@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=lambda one: one.feature or "any")
def test_every_instruction_finds_the_same(instruction):
    if instruction.feature and f"+{instruction.feature}" not in FEATURES.split(","):
        pytest.skip(f"this processor has no {instruction.feature}")
    one_group = summing(lambda _: instruction)

    @njit
    def sums_by(u, weights, bias, sums):
        for group in range(len(weights)):
            one_group(u, weights, bias, sums, group)

    for outputs, inputs, largest in ((64, 40, 2627), (40, 7, 2**14)):
        weights, u, bias, expected = case(outputs, inputs, largest, seed=outputs)
        arguments = padded(weights, u, bias)
        sums_by(*arguments)
        assert arguments[3][:outputs].tolist() == expected
    code = "".join(sums_by.inspect_asm().values())
    assert not instruction.name or "pmaddwd" in code or "pdpwssd" in code


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("+sse2,+avx2,+avx512bw", "avx512bw"),
        ("+avx2,-avx512bw,+sse2", "avx2"),
        ("+sse2,-avx2", "sse2"),
        ("+neon", ""),
        ("", ""),
    ],
)
def test_the_fastest_instruction_that_is_there_is_chosen(features, expected):
    assert chosen(features).feature == expected
