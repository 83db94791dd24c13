"""Weights of another run that a training starts from: fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anycodec.checkpoint import RunDirectory
from anycodec.config.adversarial import AdversarialSpec
from anycodec.config.run import RunSpec
from anycodec.engine import StartingWeights
from anycodec.errors import RunError
from anycodec.workflows.differences import differences

HOW_QUANTIZERS_LEARN = frozenset(
    {
        "beta",
        "codebook_lr",
        "decay",
        "diversity",
        "dropout",
        "entropy_temperature",
        "entropy_weight",
        "gradient",
        "kmeans_after",
        "kmeans_init",
        "kmeans_iterations",
        "orthogonal_weight",
        "rate_weight",
        "restart_after",
        "weight",
    }
)
"""Settings of quantizers that say nothing of what trained weights mean."""


def starting_weights(spec: RunSpec, in_channels: int, *, resume: bool) -> StartingWeights | None:
    """The files that `train.init_from` means, None without it.

    The discriminator's is among them where both runs have one of the same architecture.

    Args:
        spec: the training's configuration.
        in_channels: C of its windows.
        resume: whether it goes on from a state of its own, which makes a vanished run no mistake.

    Raises:
        RunError: no such run, unfinished, or of another codec; lists the settings that differ.
    """
    folder = spec.train.init_from
    if folder is None:
        return None
    source = RunDirectory(folder)
    if resume and not source.config.is_file():
        return StartingWeights(codec=source.weights)
    other = source.spec()
    source.fingerprint()
    _check(source, spec, other, in_channels)
    same = spec.adversarial and _same_discriminator(source, spec.adversarial, other.adversarial)
    return StartingWeights(codec=source.weights, discriminator=source.discriminator if same else None)


def origin(folder: Path, start: StartingWeights) -> dict[str, Any]:
    """What the manifest says of them, with where an imported run came from."""
    source = RunDirectory(folder)
    imported = source.read_manifest().get("imported")
    return {
        "run": str(folder.absolute()),
        "fingerprint": source.fingerprint(),
        "discriminator": start.discriminator is not None,
        **({"imported": imported} if imported else {}),
    }


def _check(source: RunDirectory, spec: RunSpec, other: RunSpec, in_channels: int) -> None:
    found = differences(other.codec.model_dump(mode="json"), spec.codec.model_dump(mode="json"))
    wrong = [
        f"codec.{key} is {ours} here, {theirs} there"
        for key, (theirs, ours) in found.items()
        if not (key.startswith("quantizer.") and key.rpartition(".")[2] in HOW_QUANTIZERS_LEARN)
    ]
    channels = source.read_manifest().get("in_channels")
    if channels != in_channels:
        wrong.insert(0, f"windows have {in_channels} channels here, {channels} there")
    if wrong:
        raise RunError(
            "the run's weights are of another codec: " + "; ".join(wrong[:8]),
            where=str(source.path),
            how="take its codec section (anycodec config show RUN), or start without train.init_from",
        )


def _same_discriminator(source: RunDirectory, ours: AdversarialSpec, theirs: AdversarialSpec | None) -> bool:
    there = theirs is not None and source.discriminator.is_file()
    return there and theirs is not None and theirs.discriminator == ours.discriminator
