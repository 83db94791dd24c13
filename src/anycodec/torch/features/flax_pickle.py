"""Parameters of a Flax network that were pickled as nested dictionaries of NumPy arrays.

Files are hostile: the unpickler knows two stand-ins, for an array and for its type, and no code is run.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from anycodec.errors import WeightsError

_FIRST = (b"AlexNet_0", b"VGG16_0", b"NetLinLayer_0")


class _Dtype:
    """Stands for `numpy.dtype`: little-endian float32 alone."""

    def __init__(self, kind: str, *_: object) -> None:
        if kind != "f4":
            raise pickle.UnpicklingError(f"values of type {kind}, not f4")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] != "<":
            raise pickle.UnpicklingError("values are not little-endian")


class _Array:
    """Stands for `numpy.ndarray`: a view of bytes that are in the file, so that no file can claim more."""

    values: np.ndarray

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, column_major, data = state
        if not isinstance(dtype, _Dtype) or column_major or not isinstance(data, bytes):
            raise pickle.UnpicklingError("an array of another layout")
        self.values = np.frombuffer(data, "<f4").reshape(shape)


class _Unpickler(pickle.Unpickler):
    """Reads dictionaries, text, numbers and arrays."""

    _KNOWN: Mapping[tuple[str, str], Any] = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): "ndarray",
        ("numpy", "dtype"): _Dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return self._KNOWN[module, name]


def is_flax(path: Path) -> bool:
    """Whether the file begins like a pickle whose first entry is a module of Flax's LPIPS."""
    with path.open("rb") as file:
        head = file.read(64)
    return head[:1] == pickle.PROTO and any(name in head for name in _FIRST)


def read_flax(path: Path) -> dict[str, Tensor]:
    """The parameters by dotted name, in Flax's layouts.

    Raises:
        WeightsError: damaged, or a pickle of more than arrays.
    """
    try:
        with path.open("rb") as file:
            return dict(_flat(_load(file), ""))
    except Exception as error:  # a damaged pickle can make its reader raise anything
        raise WeightsError(
            f"no pickle of arrays by name ({type(error).__name__}: {error}); nothing was run",
            where=str(path),
            how="fetch the file again",
        ) from error


def _load(file: BinaryIO) -> Any:
    return _Unpickler(file).load()


def _flat(tree: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in tree.items():
        if isinstance(value, _Array):
            yield f"{prefix}{name}", torch.from_numpy(value.values.copy())
        else:
            yield from _flat(value, f"{prefix}{name}.")
