"""Importers of published weights, one file a source; how to write one: `base.py`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from pydantic import ValidationError

from anycodec.engine import ImportedCodec, WeightSource
from anycodec.errors import WeightsError
from anycodec.registry import implementation
from anycodec.torch.importers.base import Config, Importer
from anycodec.torch.importers.files import read_tensors

_MODULES = {"lightningdit-vavae": "vavae"}
"""Sources whose module has another name."""


def import_weights(source: WeightSource, weights: Path, config: Config | None) -> ImportedCodec:
    """Read a published file; see `anycodec.engine.Engine.import_weights`."""
    tensors = read_tensors(weights)
    try:
        return make_importer(source).codec_tensors(tensors, config)
    except WeightsError as error:
        raise WeightsError(error.what, where=error.where or str(weights), how=error.how) from error
    except ValidationError as error:
        wrong = "; ".join(str(one["msg"]) for one in error.errors())
        raise WeightsError(f"the tensors imply what no codec has: {wrong}", where=str(weights)) from error


def make_importer(source: WeightSource) -> Importer:
    """The importer of a source."""
    return cast(Importer, implementation(__name__, Importer, _MODULES.get(source, source))())


__all__ = ["Importer", "import_weights", "make_importer"]
