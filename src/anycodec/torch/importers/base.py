"""The contract of an importer: a published implementation's tensors in, a codec's spec and state out.

A new source is one module with one `Importer` subclass, and its name in `anycodec.engine.WEIGHT_SOURCES`.
Files are read elsewhere (`anycodec.torch.importers.files`): importers never see a path.

    def codec_tensors(self, tensors, config):
        spec = ...                                   # derived from shapes, checked against config
        codec = make_codec(spec, in_channels)
        state = adopt(codec, tensors, names)         # ours -> theirs; lists what is missing or unknown
        return ImportedCodec(spec=spec, in_channels=in_channels, tensors=state, data=ImageSource(...))
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from anycodec.engine import ImportedCodec, ImportedGenerator
from anycodec.errors import WeightsError

Tensors = Mapping[str, Tensor]
Config = Mapping[str, Any]
"""A published configuration: the content of its YAML or JSON file."""

_SHOWN = 12
"""Names that an error message lists of each kind."""


class Importer(ABC):
    """Reads the weights of one published implementation."""

    @abstractmethod
    def codec_tensors(self, tensors: Tensors, config: Config | None) -> ImportedCodec:
        """Translate a state.

        Args:
            tensors: the implementation's own names -> tensors on the CPU.
            config: its configuration, None where none was given.

        Raises:
            WeightsError: tensors that are unknown, missing or of another shape than the rest implies;
                a configuration that contradicts them.
        """


class GeneratorImporter(ABC):
    """Reads the weights of one published generator.

    Attributes:
        states: entries of a checkpoint under which its best weights are, the best first.
    """

    states: tuple[str, ...] = ()

    @abstractmethod
    def generator_tensors(self, tensors: Tensors, config: Config | None) -> ImportedGenerator:
        """Translate a state, as `Importer.codec_tensors` does."""


def adopt(
    network: nn.Module, tensors: Tensors, names: Mapping[str, str], *, unused: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """The whole state of `network` with published tensors in place of its own.

    Each published tensor is used once or listed as unknown, each parameter is found or listed as missing.
    Buffers that `names` leaves out (counters of training) keep the values of `network`.

    Args:
        network: a fresh codec or discriminator of the derived spec.
        tensors: the published state. Layouts that differ (a transposed codebook) are mended before.
        names: our module or tensor -> theirs; the longest name that fits counts.
        unused: published modules or tensors that no codec needs (losses, discriminators).

    Returns:
        Our names -> arrays in the shapes and types of `network`.

    Raises:
        WeightsError: lists every name that is missing, unknown or of another shape.
    """
    own = network.state_dict()
    parameters = {name for name, _ in network.named_parameters()}
    theirs = {name: found for name in own if (found := translated(name, names)) is not None}
    untold = sorted(parameters - theirs.keys())
    if untold:
        raise TypeError(f"the importer does not say where these come from: {untold}")
    expected = set(theirs.values())
    unknown = [name for name in tensors if name not in expected and not _within(name, unused)]
    differing = [
        f"{name} {list(tensors[name].shape)} instead of {list(own[mine].shape)}"
        for mine, name in theirs.items()
        if name in tensors and _squeezed(tensors[name]) != _squeezed(own[mine])
    ]
    refuse_mismatch(missing=expected - tensors.keys(), unknown=unknown, differing=differing)
    return {
        mine: _array(tensors[theirs[mine]].reshape(value.shape).to(value.dtype) if mine in theirs else value)
        for mine, value in own.items()
    }


def refuse_mismatch(
    *, missing: Collection[str] = (), unknown: Collection[str] = (), differing: Collection[str] = ()
) -> None:
    """Do nothing where all three are empty.

    Raises:
        WeightsError: lists them, each kind sorted and shortened to a screen.
    """
    kinds = {"missing": missing, "unknown": unknown, "of another shape": differing}
    found = [f"{len(names)} {kind}: {shortened(names)}" for kind, names in kinds.items() if names]
    if found:
        raise WeightsError(
            "these tensors are not those of the published implementation\n  " + "\n  ".join(found),
            how="check the source's name; give the published configuration with --config",
        )


def require(tensors: Tensors, *names: str) -> None:
    """Refuse a state that lacks what the architecture is derived from.

    Raises:
        WeightsError: lists the missing names, and what is there instead.
    """
    missing = [name for name in names if name not in tensors]
    if missing:
        raise WeightsError(
            f"these weights are of another implementation: they lack {shortened(missing)} "
            f"and hold {shortened(tensors, 4)}",
            how="check the source's name: anycodec import --help",
        )


def refuse_contradictions(config: Mapping[str, Any], derived: Mapping[str, Any]) -> None:
    """Compare settings of a configuration with what the tensors say; keys in one of them only pass.

    Raises:
        WeightsError: lists every setting that differs.
    """
    wrong = [
        f"{key} is {config[key]} in the configuration, {value} in the weights"
        for key, value in derived.items()
        if key in config and _plain(config[key]) != _plain(value)
    ]
    if wrong:
        raise WeightsError(
            "the configuration is not that of the weights: " + "; ".join(wrong),
            how="give the configuration that was published with these weights, or none",
        )


def section(config: Config | None, *path: str) -> Mapping[str, Any]:
    """A nested section of a configuration, {} where it (or the configuration) is not there."""
    found: Any = config or {}
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def shortened(names: Collection[str], most: int = _SHOWN) -> str:
    """Sorted names for a message; of many the first, and how many more."""
    ordered = sorted(names)
    more = f", ... ({len(ordered) - most} more)" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more


def translated(name: str, names: Mapping[str, str]) -> str | None:
    """Their name of one of our tensors, None where `names` leaves it out; the longest prefix counts."""
    fitting = [prefix for prefix in names if _within(name, (prefix,))]
    if not fitting:
        return None
    prefix = max(fitting, key=len)
    return names[prefix] + name.removeprefix(prefix)


def _within(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _squeezed(tensor: Tensor) -> list[int]:
    """The shape without axes of one: a 1x1 convolution is a linear layer."""
    return [size for size in tensor.shape if size != 1]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = np.asarray(tensor.detach().numpy(), order="C")
    return array
