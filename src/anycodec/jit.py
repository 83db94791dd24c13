"""Functions in machine code, by numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])

_NONE: set[str] = set()
_ANY_ORDER = {"reassoc", "contract", "nsz"}


def compiled(function: Function) -> Function:
    """The function in machine code, kept on disk where a folder for that can be written.

    numba looks at the file of a function alone to see whether what is on disk is old: functions that call
    each other belong in one file.
    """
    return _compiled(function, _NONE)


def compiled_exact_sums(function: Function) -> Function:
    """The same for sums of whole numbers in float64 that stay below 2^53.

    They are exact in any order, so the compiler may choose one that suits the processor.
    """
    return _compiled(function, _ANY_ORDER)


def _compiled(function: Function, fastmath: set[str]) -> Function:
    try:
        return cast(Function, njit(cache=True, nogil=True, fastmath=fastmath)(function))
    except RuntimeError:  # numba finds no such folder
        return cast(Function, njit(nogil=True, fastmath=fastmath)(function))
