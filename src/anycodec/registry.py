"""`type` in the config is the module's file name: the one subclass defined there implements it."""

from __future__ import annotations

import importlib
import inspect
from typing import Any


def implementation(package: str, base: type, name: str) -> type[Any]:
    """The subclass of `base` that `package/name.py` defines."""
    module = importlib.import_module(f"{package}.{name}")
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, base) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__name__} must define exactly one {base.__name__}, it has {len(found)}")
    return found[0]
