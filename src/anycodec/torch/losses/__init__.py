"""Loss terms, one file a term; `type` in the config is the module's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from anycodec.config.loss import LossSpec
from anycodec.registry import implementation
from anycodec.torch.losses.base import Loss


class LossTerms(nn.Module):
    """Terms by name. A `ModuleDict` refuses names of its methods, such as `keys` and `float`."""

    def __init__(self, terms: Mapping[str, Loss]) -> None:
        super().__init__()
        self._names = tuple(terms)
        self._terms = nn.ModuleList(terms.values())

    def items(self) -> Iterable[tuple[str, nn.Module]]:
        """Names and terms in their order."""
        return zip(self._names, self._terms, strict=True)

    def __getitem__(self, name: str) -> nn.Module:
        return self._terms[self._names.index(name)]


def make_losses(specs: Mapping[str, LossSpec]) -> LossTerms:
    """The terms of a configuration by name."""
    return LossTerms({name: implementation(__name__, Loss, spec.type)(spec) for name, spec in specs.items()})


__all__ = ["Loss", "LossTerms", "make_losses"]
