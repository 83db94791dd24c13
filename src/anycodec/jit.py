"""Functions in machine code, by numba.

numba keeps what it compiled beside a function's file, and compiles again where that file has changed; what
the function calls may lie in other files, of which numba knows nothing. So there is a folder for each state
of all files of anycodec that are compiled.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import njit

from anycodec.cache import cache_folder

Function = TypeVar("Function", bound=Callable[..., object])

_SETTINGS = cast(Any, numba.config)
_PACKAGE = Path(__file__).parent
_COMPILED = ("jit.py", "bitstream/*.py", "torch/quantizers/trellis.py")
_NONE: set[str] = set()
_ANY_ORDER = {"reassoc", "contract", "nsz"}


def compiled(function: Function) -> Function:
    """The function in machine code, kept on disk where a folder for that can be written."""
    return _compiled(function, _NONE)


def compiled_exact_sums(function: Function) -> Function:
    """The same for sums of whole numbers in float64 that stay below 2^53.

    They are exact in any order, so the compiler may choose one that suits the processor.
    """
    return _compiled(function, _ANY_ORDER)


def _compiled(function: Function, fastmath: set[str]) -> Function:
    folder = _folder()
    before = _SETTINGS.CACHE_DIR
    try:
        _SETTINGS.CACHE_DIR = folder or before
        kept = njit(cache=folder is not None, nogil=True, fastmath=fastmath)(function)
    finally:
        _SETTINGS.CACHE_DIR = before
    return cast(Function, kept)


@cache
def _folder() -> str | None:
    """Where compiled functions are kept: beside the program or in the cache; None where neither can be."""
    digest = hashlib.sha256()
    for pattern in _COMPILED:
        for path in sorted(_PACKAGE.glob(pattern)):
            digest.update(path.read_bytes())
    name = f"compiled-{digest.hexdigest()[:16]}"
    for parent in (_PACKAGE / "__pycache__", cache_folder()):
        try:
            (parent / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(parent / name, os.W_OK):
            return str(parent / name)
    return None
