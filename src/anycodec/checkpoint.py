"""The run directory. A checkpoint is data, never code.

config.yaml              the resolved configuration
manifest.json            versions, engine, channels, data fingerprint and counts, metrics
weights.safetensors      the kept weights (best, averaged if EMA is on)
best/val_lpips_vgg/      a run directory of its own with the best weights by another metric
discriminator.safetensors  the last discriminator, after adversarial training
statistics.safetensors   normalizer.shift, normalizer.scale, token_counts.0, token_counts.1, ...
resume/                  optimizer, schedule, sampler position, RNG; loaded weights-only
metrics.csv  figures/  tensorboard/  report.html  train.log
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from anycodec.atomic import atomic_path, atomic_write, disk_full
from anycodec.config.base import Spec
from anycodec.config.kinds import CODEC, AnyKind, Kind, S, kind_of
from anycodec.config.loader import dump_spec, load_kind
from anycodec.config.run import RunSpec
from anycodec.config.source import read_file
from anycodec.errors import RunError

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths and contents of one run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def weights(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def discriminator(self) -> Path:
        return self.path / "discriminator.safetensors"

    @property
    def statistics(self) -> Path:
        return self.path / "statistics.safetensors"

    def best(self, metric: str) -> RunDirectory:
        """The run with the best weights by one of `train.keep_best`."""
        return RunDirectory(self.path / "best" / metric.replace("/", "_"))

    @property
    def resume(self) -> Path:
        return self.path / "resume"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def log(self) -> Path:
        return self.path / "train.log"

    def create(self, spec: Spec) -> None:
        """Make the folder and store the resolved configuration."""
        self.path.mkdir(parents=True, exist_ok=True)
        atomic_write(self.config, dump_spec(spec))

    def spec(self) -> RunSpec:
        """The configuration of this run, which is a codec's; see `spec_of`."""
        return self.spec_of(CODEC)

    def spec_of(self, kind: Kind[S]) -> S:
        """The configuration of this run.

        Raises:
            RunError: not a run directory, or a run of another kind.
        """
        found = self.kind()
        if found is not kind:
            raise RunError(f"this is the run of a {found}, not of a {kind}", where=str(self.path))
        return load_kind(kind, self.config, check_paths=False)

    def kind(self) -> AnyKind:
        """What the run is of.

        Raises:
            RunError: not a run directory.
        """
        if not self.config.is_file():
            raise RunError(
                "not a run directory (it has no config.yaml)",
                where=str(self.path),
                how="give the folder that `anycodec train` wrote, e.g. runs/nanopore",
            )
        return kind_of(read_file(self.config)[0])

    def read_manifest(self) -> dict[str, Any]:
        """The manifest, {} before the first checkpoint.

        Raises:
            RunError: the manifest is damaged.
        """
        if not self.manifest.is_file():
            return {}
        try:
            manifest: dict[str, Any] = json.loads(self.manifest.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"damaged manifest: {error}", where=str(self.manifest)) from error
        return manifest

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        atomic_write(self.manifest, json.dumps(manifest, indent=2, sort_keys=True) + "\n")

    def update_manifest(self, **entries: Any) -> None:
        """Set top-level entries, keeping the others."""
        self.write_manifest({**self.read_manifest(), **entries})

    def read_statistics(self) -> Arrays:
        return read_arrays(self.statistics)

    def write_statistics(self, arrays: Arrays) -> None:
        write_arrays(self.statistics, arrays)

    def fingerprint(self) -> str:
        """SHA-256 over what decides the meaning of tokens: codec and data path settings, weights
        and statistics. Stored in every `.acz` file.

        Raises:
            RunError: the run has no finished checkpoint.
        """
        digest = hashlib.sha256(json.dumps(self._decisive(), sort_keys=True).encode())
        for path in (self.weights, self.statistics):
            if not path.is_file():
                raise RunError(
                    f"the run has no {path.name} yet",
                    where=str(self.path),
                    how="finish training first: anycodec train CONFIG --out RUN --resume",
                )
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        return digest.hexdigest()

    def _decisive(self) -> dict[str, Any]:
        """The settings as they were stored: a later version's new defaults must not change them."""
        self.spec()
        stored = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        data = stored["data"]
        return {"codec": stored["codec"], **{key: data.get(key) for key in ("type", "normalizer", "window")}}


def read_arrays(path: Path) -> Arrays:
    """Read a safetensors file into NumPy.

    Raises:
        RunError: missing or damaged.
    """
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise RunError(f"missing {path.name}", where=str(path)) from error
    except SafetensorError as error:
        raise RunError(f"damaged {path.name}: {error}", where=str(path)) from error


def check_arrays(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Refuse weights that are not those of the configuration.

    Args:
        found: shapes by name.
        expected: shapes by name.
        where: the file that they come from.

    Raises:
        RunError: lists what is missing, unknown or of another shape.
    """
    problems = [f"missing {name}" for name in expected.keys() - found.keys()]
    problems += [f"unknown {name}" for name in found.keys() - expected.keys()]
    problems += [
        f"{name} is {list(found[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if problems:
        raise RunError(
            "the weights do not belong to the configuration: " + "; ".join(sorted(problems)[:8]),
            where=where,
            how="use the config.yaml and weights.safetensors of one run",
        )


def write_arrays(
    path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> None:
    """Write NumPy arrays as safetensors, atomically.

    Args:
        path: the file.
        arrays: by name.
        metadata: text that goes with them.

    Raises:
        ResourceError: the disk is full.
    """
    with atomic_path(path) as temporary:
        try:
            ordered = {name: np.asarray(value, order="C") for name, value in arrays.items()}
            save_file(ordered, temporary, dict(metadata) if metadata else None)
        except SafetensorError as error:
            if "No space left" not in str(error):
                raise
            raise disk_full(path) from error
