"""Configurations x a grid -> the runs of a sweep, all checked before anything starts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from anycodec.checkpoint import RunDirectory
from anycodec.config.schema import TAG
from anycodec.config.source import JSON_SUFFIXES, YAML_SUFFIXES
from anycodec.errors import ConfigError, UserError
from anycodec.workflows.sweeps.grid import Axis, combinations
from anycodec.workflows.sweeps.kinds import Trained, load_trained, metric_mistake, usual_metric

_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Variant:
    """A run of the sweep.

    Attributes:
        name: unique among its runs.
        settings: what sets it apart, by key, as written on the command line.
        spec: its configuration.
    """

    name: str
    settings: dict[str, str]
    spec: Trained


@dataclass(frozen=True, slots=True)
class Wanted:
    """What every run of a sweep must be able to do.

    Attributes:
        metric: column that ranks the runs, None = the one by which all keep weights.
        on_gpu: whether they run on GPUs.
    """

    metric: str | None
    on_gpu: bool


class Mistakes:
    """Mistakes of many configurations; the same mistake in several runs counts once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str | None], tuple[UserError, list[str]]] = {}

    def add(self, run: str, mistakes: Iterable[UserError]) -> None:
        """Note the mistakes of a run."""
        for mistake in mistakes:
            _, runs = self._found.setdefault((mistake.what, mistake.how), (mistake, []))
            runs.append(run)

    def check(self) -> None:
        """Go on only without mistakes.

        Raises:
            ConfigError: every mistake, with the runs that have it.
        """
        if self._found:
            raise ConfigError([_placed(mistake, runs) for mistake, runs in self._found.values()])


def find_configs(inputs: Sequence[Path]) -> list[Path]:
    """Configuration files: each as given, those of a folder by name; a run directory is one.

    Raises:
        ConfigError: a folder without any, or nothing at a path.
    """
    found: list[Path] = []
    mistakes: list[UserError] = []
    for path in inputs:
        if not path.is_dir() or RunDirectory(path).manifest.is_file():
            found.append(path)
            continue
        files = [
            file for file in sorted(path.iterdir()) if file.suffix.lower() in YAML_SUFFIXES + JSON_SUFFIXES
        ]
        if not files:
            how = "give a folder of .yaml or .json files, or the files themselves"
            mistakes.append(UserError("the folder holds no configuration", where=str(path), how=how))
        found += files
    if mistakes:
        raise ConfigError(mistakes)
    return found


def plan(
    configs: Sequence[Path], overrides: Sequence[str], axes: Sequence[Axis], wanted: Wanted
) -> list[Variant]:
    """The runs of a sweep, in the order of the configurations, the last axis fastest.

    Raises:
        ConfigError: the mistakes of all configurations.
    """
    names = Names()
    mistakes = Mistakes()
    variants: list[Variant] = []
    for config in configs:
        for settings in combinations(axes):
            name = names.unique(config, settings)
            try:
                variants.append(make_variant(config, overrides, name, settings, wanted))
            except ConfigError as error:
                mistakes.add(name, error.mistakes)
    mistakes.check()
    return variants


def make_variant(
    config: Path, overrides: Sequence[str], name: str, settings: dict[str, str], wanted: Wanted
) -> Variant:
    """One run of a sweep.

    Raises:
        ConfigError: its mistakes.
    """
    laid = [*overrides, *(f"{key}={value}" for key, value in settings.items())]
    spec = load_trained(config, [*laid, f"name={name}"])
    found = [
        mistake
        for mistake in (wanted.metric and metric_mistake(spec, wanted.metric), _device_mistake(spec, wanted))
        if mistake
    ]
    if found:
        raise ConfigError(found)
    return Variant(name, settings, spec)


def common_metric(variants: Sequence[Variant]) -> str:
    """The metric by which all runs keep their weights.

    Raises:
        UserError: they differ.
    """
    metrics = sorted({usual_metric(variant.spec) for variant in variants})
    if len(metrics) > 1:
        raise UserError(
            f"the runs keep their weights by different metrics: {', '.join(metrics)}",
            how="say which one compares them, with --metric",
        )
    return metrics[0]


class Names:
    """Names of runs: the configuration's, and the values that set them apart."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, config: Path, settings: dict[str, str]) -> str:
        """A name that no other run has."""
        stem = config.name if config.is_dir() else config.stem
        parts = [stem, *(_short(key, value) for key, value in settings.items())]
        wanted = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts))[:_LONGEST_NAME].strip("._-") or "run"
        name, number = wanted, 2
        while name in self._taken:
            name, number = f"{wanted}-{number}", number + 1
        self._taken.add(name)
        return name


def _short(key: str, value: str) -> str:
    """`codec.quantizer.type=fsq` is fsq, `train.optimizer.lr=1e-4` lr_1e-4."""
    last = key.rpartition(".")[2]
    return value if last == TAG else f"{last}_{value}"


def _placed(mistake: UserError, runs: Sequence[str]) -> UserError:
    others = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
    where = f"{mistake.where or 'configuration'} (run {runs[0]}{others})"
    return UserError(mistake.what, where=where, how=mistake.how)


def _device_mistake(spec: Trained, wanted: Wanted) -> UserError | None:
    """Why a run does not fit its slots."""
    if spec.train.device == ("cpu" if wanted.on_gpu else "cuda"):
        how = "set train.device=auto, and choose with --gpus 0,1 or --slots N"
        slots = "GPUs" if wanted.on_gpu else "processors"
        return UserError(f"train.device is {spec.train.device}, the sweep runs on {slots}", how=how)
    return None
