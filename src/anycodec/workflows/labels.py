"""The classes that a codec knows."""

from __future__ import annotations

from anycodec.config.codec import KlVaeSpec
from anycodec.config.run import RunSpec
from anycodec.data.loader import PreparedData
from anycodec.errors import DataError


def known_classes(spec: RunSpec, data: PreparedData) -> tuple[str, ...]:
    """Names of the classes in the order of their numbers, () for a codec that does not look at them.

    Raises:
        DataError: it does, and the data has no classes.
    """
    if not isinstance(spec.codec, KlVaeSpec) or spec.codec.label_channels is None:
        return ()
    if not data.classes:
        raise DataError(
            "the data has no classes, and codec.label_channels asks for them",
            where=str(spec.data.root),
            how="put the files of each class into a folder of its own, or set codec.label_channels=null",
        )
    return data.classes
