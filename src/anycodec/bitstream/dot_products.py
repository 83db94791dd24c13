"""Sums of products of whole numbers in the vector registers of a processor: the layers of a network.

A compiler gives each output a register and adds up its lanes in the end, which takes longer than the products
do. Here each lane of a register is an output: one instruction, such as PMADDWD of x86, takes two inputs times
their weights to up to 16 outputs and adds both products. Sums are int32, so that every processor finds the
same, in whatever order it adds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from anycodec.jit import compiled

Narrow = NDArray[np.int16]
Sums = NDArray[np.int32]

LANES = 16
"""Outputs that are summed at a time, a group."""
_PAIRS = 2
"""Pairs of inputs at a time, each with sums of its own: additions need not wait for each other."""
_NARROW, _WIDE, _INDEX = ir.IntType(16), ir.IntType(32), ir.IntType(64)


@dataclass(frozen=True, slots=True)
class Instruction:
    """Products of 2 `outputs` numbers, neighbours added.

    Attributes:
        feature: of processors that have it, as LLVM names it.
        name: LLVM's; "" = what it compiles by itself.
        outputs: lanes of the result.
    """

    feature: str
    name: str
    outputs: int


INSTRUCTIONS = (
    Instruction("avx512bw", "llvm.x86.avx512.pmaddw.d.512", 16),
    Instruction("avx2", "llvm.x86.avx2.pmadd.wd", 8),
    Instruction("sse2", "llvm.x86.sse2.pmadd.wd", 4),
    Instruction("", "", 4),
)
"""The fastest first; every processor has the last."""


def chosen(features: str) -> Instruction:
    """The fastest instruction of a processor with these features, as LLVM lists them: +avx2,-avx512bw."""
    present = {"", *(one[1:] for one in features.split(",") if one.startswith("+"))}
    return next(one for one in INSTRUCTIONS if one.feature in present)


def arranged(weights: Narrow) -> Narrow:
    """Weights [outputs inputs] as `layer` wants them: [groups pairs LANES 2], with zeros where none are."""
    outputs, inputs = weights.shape
    filled = np.pad(weights, ((0, -outputs % LANES), (0, -inputs % (2 * _PAIRS))))
    return np.ascontiguousarray(filled.reshape(-1, LANES, filled.shape[1] // 2, 2).transpose(0, 2, 1, 3))


def room_for(count: int, *, outputs: bool) -> int:
    """How many inputs or outputs `layer` has room for where so many are wanted."""
    return count + -count % (LANES if outputs else 2 * _PAIRS)


def summing(choose: Callable[[str], Instruction] = chosen) -> Callable[..., None]:
    """Compiled inline: (inputs, weights, bias, sums, g) writes the sums of group g; see `layer`."""

    def typed(_: Any, u: Any, weights: Any, bias: Any, sums: Any, _group: Any) -> Any:
        return types.void(u, weights, bias, sums, types.int64), generate

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        u, weights, bias, sums = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[:4], arguments[:4], strict=True)
        )
        pairs = builder.lshr(builder.extract_value(u.shape, 0), _INDEX(1))
        instruction = choose(context.codegen().magic_tuple()[2])
        _Loop(builder, instruction, pairs, arguments[4]).write(u.data, weights.data, bias.data, sums.data)
        return context.get_dummy_value()

    return cast(Callable[..., None], intrinsic(typed))


class _Loop:
    """Writes the loop over pairs of inputs that sums a group.

    Args:
        builder: where to write.
        instruction: what multiplies.
        pairs: of inputs, an even number.
        group: its number.
    """

    def __init__(self, builder: Any, instruction: Instruction, pairs: Any, group: Any) -> None:
        self._builder, self._instruction, self._pairs, self._group = builder, instruction, pairs, group
        self._outputs = ir.VectorType(_WIDE, instruction.outputs)
        self._factors = ir.VectorType(_NARROW, 2 * instruction.outputs)
        self._parts = range(0, LANES, instruction.outputs)

    def write(self, u: Any, weights: Any, bias: Any, sums: Any) -> None:
        """All arguments are pointers to the first number of an array."""
        builder = self._builder
        first = builder.mul(self._group, _INDEX(LANES))
        zeros = self._outputs([0] * self._instruction.outputs)
        starts = [self._load(bias, builder.add(first, _INDEX(part)), self._outputs) for part in self._parts]
        starts += [zeros] * (len(self._parts) * (_PAIRS - 1))
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        pair = builder.phi(_INDEX)
        pair.add_incoming(_INDEX(0), before)
        totals = [builder.phi(self._outputs) for _ in starts]
        products = [one for i in range(_PAIRS) for one in self._products(u, weights, pair, i)]
        found = [builder.add(total, one) for total, one in zip(totals, products, strict=True)]
        for total, start, one in zip(totals, starts, found, strict=True):
            total.add_incoming(start, before)
            total.add_incoming(one, loop)
        following = builder.add(pair, _INDEX(_PAIRS))
        pair.add_incoming(following, loop)
        builder.cbranch(builder.icmp_unsigned("<", following, self._pairs), loop, after)
        builder.position_at_end(after)
        for i, part in enumerate(self._parts):
            total = found[i]
            for other in found[i + len(self._parts) :: len(self._parts)]:
                total = builder.add(total, other)
            self._store(sums, builder.add(first, _INDEX(part)), total)

    def _products(self, u: Any, weights: Any, pair: Any, ahead: int) -> list[Any]:
        """Of one pair of inputs with its weights to all outputs."""
        builder = self._builder
        pair = builder.add(pair, _INDEX(ahead))
        both = self._load(u, builder.mul(pair, _INDEX(2)), _WIDE)
        lanes = ir.VectorType(_WIDE, self._instruction.outputs)
        one = builder.insert_element(lanes(ir.Undefined), both, _WIDE(0))
        same = builder.shuffle_vector(one, lanes(ir.Undefined), lanes([0] * lanes.count))
        inputs = builder.bitcast(same, self._factors)
        found = []
        for part in self._parts:
            row = builder.add(builder.mul(self._group, self._pairs), pair)
            at = builder.add(builder.mul(row, _INDEX(2 * LANES)), _INDEX(2 * part))
            found.append(self._added(inputs, self._load(weights, at, self._factors)))
        return found

    def _added(self, a: Any, b: Any) -> Any:
        """a_0 b_0 + a_1 b_1, a_2 b_2 + a_3 b_3, .."""
        builder, kind = self._builder, ir.FunctionType(self._outputs, [self._factors, self._factors])
        if self._instruction.name:
            return builder.call(builder.module.declare_intrinsic(self._instruction.name, (), kind), [a, b])
        even, odd = (
            builder.mul(self._every_other(a, start), self._every_other(b, start)) for start in (0, 1)
        )
        return builder.add(even, odd)

    def _every_other(self, numbers: Any, start: int) -> Any:
        places = self._outputs(list(range(start, self._factors.count, 2)))
        picked = self._builder.shuffle_vector(numbers, self._factors(ir.Undefined), places)
        return self._builder.sext(picked, self._outputs)

    def _load(self, numbers: Any, index: Any, kind: Any) -> Any:
        place = self._builder.gep(numbers, [index])
        found = self._builder.load(self._builder.bitcast(place, kind.as_pointer()))
        found.align = 2
        return found

    def _store(self, numbers: Any, index: Any, value: Any) -> None:
        place = self._builder.gep(numbers, [index])
        self._builder.store(value, self._builder.bitcast(place, value.type.as_pointer())).align = 4


sum_group = summing()


@compiled
def layer(u: Narrow, weights: Narrow, bias: Sums, sums: Sums) -> None:
    """sums = weights u + bias.

    Args:
        u: inputs, with zeros up to `room_for`.
        weights: see `arranged`.
        bias: of each output, with zeros up to `room_for`.
        sums: room for as many.
    """
    for group in range(len(weights)):
        sum_group(u, weights, bias, sums, group)
