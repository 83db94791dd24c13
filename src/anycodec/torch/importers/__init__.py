"""Importers of published weights, one file a source; how to write one: `base.py`."""

from __future__ import annotations

from typing import cast

from anycodec.torch.importers.base import Importer
from anycodec.torch.registry import implementation

_MODULES = {"lightningdit-vavae": "vavae"}
"""Sources whose module has another name."""


def make_importer(source: str) -> Importer:
    """The importer of a source, one of `anycodec.engine.WEIGHT_SOURCES`."""
    return cast(Importer, implementation(__name__, Importer, _MODULES.get(source, source))())


__all__ = ["Importer", "make_importer"]
