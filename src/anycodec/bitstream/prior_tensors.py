"""A prior as named arrays of whole numbers, and back.

    codec               uint8 [32]        fingerprint of the codec's run
    grids               int32 [L axes]    token grid of a window of each level

and for each level l

    l.contexts          int16 [J 1 + A]   level and offset of each neighbour
    l.codes.m           int8 [K_m + 1 E]  codes of level m, the last row of nothing
    l.places.i          int32 [g_i or 1, width]  places along axis i of the grid
    l.a.weight          int16 [width J E], l.a.bias int32, l.a.shift uint8 []; l.b, l.c as well
    l.groups            int32 [K], l.u.weight, l.u.bias, l.u.shift, l.u.groups int32 [G V],
                        l.d.weight, l.d.bias, l.d.shift; only where groups have several codes
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.limits import MOST_LEVELS, MOST_TOKENS
from anycodec.bitstream.prior_lanes import STEPS, lane_axes
from anycodec.bitstream.prior_network import (
    FARTHEST,
    MOST_MEMBERS,
    MOST_NEIGHBOURS,
    Arrays,
    Layer,
    LevelNetwork,
    Members,
    check,
    member_table,
)

Grids = tuple[tuple[int, ...], ...]


def to_tensors(codec: str, grids: Grids, levels: Sequence[LevelNetwork]) -> Arrays:
    """All arrays by name."""
    arrays: dict[str, NDArray[Any]] = {
        "codec": np.frombuffer(bytes.fromhex(codec), np.uint8),
        "grids": np.array(grids, "<i4"),
    }
    for number, level in enumerate(levels):
        arrays |= {f"{number}.{name}": array for name, array in _of_level(level).items()}
    return arrays


def _of_level(level: LevelNetwork) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"contexts": level.contexts.astype("<i2")}
    arrays |= {f"codes.{source}": table.astype(np.int8) for source, table in level.codes.items()}
    arrays |= {f"places.{axis}": table.astype("<i4") for axis, table in enumerate(level.places)}
    for name, layer in (("a", level.a), ("b", level.b), ("c", level.c)):
        arrays |= _of_layer(name, layer)
    members = level.members
    if members is not None and level.groups is not None:
        arrays["groups"] = level.groups.astype("<i4")
        arrays |= _of_layer("u", members.hidden)
        arrays["u.groups"] = members.groups.astype("<i4")
        arrays |= _of_layer("d", Layer(members.weight[:-1], members.bias[:-1], members.shift))
    return arrays


def _of_layer(name: str, layer: Layer) -> dict[str, NDArray[Any]]:
    return {
        f"{name}.weight": layer.weight.astype("<i2"),
        f"{name}.bias": layer.bias.astype("<i4"),
        f"{name}.shift": np.array(layer.shift, np.uint8),
    }


def from_tensors(arrays: Arrays) -> tuple[str, tuple[int, ...], Grids, tuple[LevelNetwork, ...]]:
    """Fingerprint of the codec, codebook sizes, grids and networks.

    Raises:
        ValueError: not such arrays.
    """
    try:
        codec, table = _typed(arrays["codec"], "u1", 1), _typed(arrays["grids"], "i4", 2)
        grids = tuple(tuple(int(extent) for extent in grid) for grid in table)
        if len(codec) != 32 or not 1 <= len(grids) <= MOST_LEVELS or not 1 <= table.shape[1] <= 3:
            raise ValueError("grids that no codec has")
        if table.min() < 1 or np.prod(table.astype(np.float64), axis=1).max() > MOST_TOKENS:
            raise ValueError("grids out of bounds")
        sizes = tuple(
            len(_typed(arrays[f"{level}.codes.{level}"], "i1", 2)) - 1 for level in range(len(grids))
        )
        levels = tuple(_level(arrays, level, sizes, grids) for level in range(len(grids)))
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is missing") from error
    except (IndexError, TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error
    return codec.tobytes().hex(), sizes, grids, levels


def _level(arrays: Arrays, level: int, sizes: Sequence[int], grids: Grids) -> LevelNetwork:
    def array(name: str, kind: str, axes: int) -> NDArray[Any]:
        return _typed(arrays[f"{level}.{name}"], kind, axes)

    contexts = array("contexts", "i2", 2).astype(np.int64)
    _check_contexts(contexts, level, lane_axes(grids[level]))
    sources = np.unique(contexts[:, 0]).tolist()
    groups = array("groups", "i4", 1).astype(np.int64) if f"{level}.groups" in arrays else None
    network = LevelNetwork(
        contexts=contexts,
        codes={source: array(f"codes.{source}", "i1", 2).astype(np.float32) for source in sources},
        places=tuple(
            array(f"places.{axis}", "i4", 2).astype(np.float32) for axis in range(len(grids[level]))
        ),
        a=_layer(arrays, f"{level}.a"),
        b=_layer(arrays, f"{level}.b"),
        c=_layer(arrays, f"{level}.c"),
        groups=groups,
        members=None if groups is None else _members(arrays, level, groups, sizes[level]),
    )
    check(network, sizes, level, grids[level])
    return network


def _check_contexts(contexts: NDArray[np.int64], level: int, axes: int) -> None:
    if not 1 <= len(contexts) <= MOST_NEIGHBOURS or contexts.shape[1] != 1 + axes:
        raise ValueError(f"{len(contexts)} neighbours along {contexts.shape[1] - 1} axes")
    if np.abs(contexts[:, 1:]).max() > FARTHEST:
        raise ValueError("neighbours that are too far away")
    own = contexts[contexts[:, 0] == level, 1:]
    if not len(own) or (own @ np.array(STEPS[axes])).max() >= 0:
        raise ValueError("neighbours that are decoded later")


def _members(arrays: Arrays, level: int, groups: NDArray[np.int64], size: int) -> Members:
    n_groups = len(_typed(arrays[f"{level}.c.bias"], "i4", 1))
    if len(groups) != size or not np.array_equal(np.unique(groups), np.arange(n_groups)):
        raise ValueError("groups of codes that are not 0, 1, ..")
    if n_groups * np.bincount(groups).max() > MOST_MEMBERS:
        raise ValueError("groups of too different sizes")
    d, spread = _layer(arrays, f"{level}.d"), _typed(arrays[f"{level}.u.groups"], "i4", 2)
    if d.weight.shape[0] != size or len(d.bias) != size:
        raise ValueError("members of other codes")
    return Members(
        table=member_table(groups),
        hidden=_layer(arrays, f"{level}.u"),
        groups=spread.astype(np.float32),
        weight=np.concatenate([d.weight, np.zeros((1, d.weight.shape[1]), np.float32)]),
        bias=np.append(d.bias, np.float32(0)),
        shift=d.shift,
    )


def _layer(arrays: Arrays, name: str) -> Layer:
    return Layer(
        _typed(arrays[f"{name}.weight"], "i2", 2).astype(np.float32),
        _typed(arrays[f"{name}.bias"], "i4", 1).astype(np.float32),
        int(_typed(arrays[f"{name}.shift"], "u1", 0)),
    )


def _typed(array: NDArray[Any], kind: str, axes: int) -> NDArray[Any]:
    if array.dtype.str[1:] != kind or array.ndim != axes:
        raise ValueError(f"an array of type {array.dtype} and {array.ndim} axes, not {kind} and {axes}")
    return array
