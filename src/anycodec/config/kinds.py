"""Kinds of run. The top-level key that only one kind has decides which a configuration is of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from anycodec.config.augmentation import AugmentationRunSpec, augmentation_cross_check
from anycodec.config.base import Spec
from anycodec.config.features_run import FeaturesRunSpec, features_cross_check
from anycodec.config.generation import GeneratorRunSpec, generation_cross_check
from anycodec.config.prior import PriorRunSpec
from anycodec.config.run import RunSpec, cross_check
from anycodec.config.source import Node
from anycodec.errors import UserError

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True, slots=True)
class Kind(Generic[S]):
    """What a run is of.

    Attributes:
        key: the top-level key that decides, and the kind's name.
        spec: its whole configuration.
        cross_check: mistakes that need several settings at once, each with the dotted key that holds it.
    """

    key: str
    spec: type[S]
    cross_check: Callable[[S], list[tuple[str, UserError]]]

    def __str__(self) -> str:
        return self.key


AnyKind = Kind[Any]
CODEC = Kind("codec", RunSpec, cross_check)
AUGMENTATION = Kind("augmentation", AugmentationRunSpec, augmentation_cross_check)
GENERATOR = Kind("generator", GeneratorRunSpec, generation_cross_check)
FEATURES = Kind("features", FeaturesRunSpec, features_cross_check)
PRIOR = Kind("prior", PriorRunSpec, lambda _: [])
KINDS: dict[str, AnyKind] = {kind.key: kind for kind in (CODEC, AUGMENTATION, GENERATOR, FEATURES, PRIOR)}
"""Kinds by name."""


def kind_of(root: Node, overrides: Iterable[str] = ()) -> AnyKind:
    """The kind of a configuration: that of the first deciding key in it, a codec's where there is none.

    Args:
        root: the settings of a file.
        overrides: `dotted.key=value`, laid over them later.
    """
    given = {*(root.section or {}), *(text.partition("=")[0].partition(".")[0] for text in overrides)}
    special = (kind for kind in KINDS.values() if kind is not CODEC and kind.key in given)
    return next(special, CODEC)
