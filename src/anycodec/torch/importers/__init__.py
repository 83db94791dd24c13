"""Importers of published weights, one file a source; how to write one: `base.py`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from anycodec.engine import GeneratorSource, ImportedCodec, ImportedGenerator, WeightSource
from anycodec.errors import WeightsError
from anycodec.registry import implementation
from anycodec.torch.importers.base import Config, GeneratorImporter, Importer
from anycodec.torch.importers.files import read_tensors

_MODULES = {"lightningdit-vavae": "vavae"}
"""Sources whose module has another name."""


def import_weights(source: WeightSource, weights: Path, config: Config | None) -> ImportedCodec:
    """Read a published file; see `anycodec.engine.Engine.import_weights`."""
    tensors = read_tensors(weights)
    with _named(weights):
        return make_importer(source).codec_tensors(tensors, config)


def import_generator(source: GeneratorSource, weights: Path, config: Config | None) -> ImportedGenerator:
    """Read a published file; see `anycodec.engine.Engine.import_generator`."""
    importer = make_generator_importer(source)
    tensors = read_tensors(weights, importer.states)
    with _named(weights):
        return importer.generator_tensors(tensors, config)


@contextmanager
def _named(weights: Path) -> Iterator[None]:
    """Say in errors which file they are about."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(error.what, where=error.where or str(weights), how=error.how) from error
    except ValidationError as error:
        wrong = "; ".join(str(one["msg"]) for one in error.errors())
        raise WeightsError(f"the tensors imply what no network has: {wrong}", where=str(weights)) from error


def make_importer(source: WeightSource) -> Importer:
    """The importer of a source."""
    return cast(Importer, implementation(__name__, Importer, _MODULES.get(source, source))())


def make_generator_importer(source: GeneratorSource) -> GeneratorImporter:
    """The importer of a source of generators."""
    return cast(GeneratorImporter, implementation(__name__, GeneratorImporter, source)())


__all__ = [
    "GeneratorImporter",
    "Importer",
    "import_generator",
    "import_weights",
    "make_generator_importer",
    "make_importer",
]
