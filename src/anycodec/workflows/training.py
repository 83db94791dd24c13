"""`anycodec train`: a configuration of any kind -> run directory."""

from __future__ import annotations

import shlex
from pathlib import Path

from anycodec.checkpoint import RunDirectory
from anycodec.config.augmentation import AugmentationRunSpec
from anycodec.config.features_run import FeaturesRunSpec
from anycodec.config.generation import GeneratorRunSpec
from anycodec.config.loader import load_any
from anycodec.config.prior import PriorRunSpec
from anycodec.config.run import RunSpec
from anycodec.engine import get_engine
from anycodec.errors import UserError


def run(config: Path, overrides: list[str], out: Path | None, resume: bool, quiet: bool) -> int:
    """Train what the configuration is of, from it alone or continuing a run.

    Raises:
        ConfigError: mistakes in the configuration, all at once.
        DataError: no usable data.
        RunError: the folder holds another run, or cannot be continued with these settings.
    """
    _, spec = load_any(config, overrides)
    match spec:
        case RunSpec():
            from anycodec.workflows import train

            if not get_engine(spec.engine).follow(spec.train):
                train.train(spec, _folder(out, spec.name), resume=resume, quiet=quiet)
        case GeneratorRunSpec():
            from anycodec.workflows import train_generator

            if not get_engine("torch").follow(spec.train):
                train_generator.train(spec, _folder(out, spec.name), resume=resume, quiet=quiet)
        case FeaturesRunSpec():
            from anycodec.workflows import features

            if not get_engine("torch").follow(spec.train):
                features.train(spec, _folder(out, spec.name), resume=resume, quiet=quiet)
        case PriorRunSpec():
            from anycodec.workflows import train_prior

            train_prior.train(spec, _folder(out, spec.name), resume=resume, quiet=quiet)
        case AugmentationRunSpec():
            raise UserError(
                "this configuration is of several trainings, one after the other",
                where=str(config),
                how=f"run them: anycodec augment {shlex.quote(str(config))}",
            )
        case _:
            raise AssertionError(f"nothing trains a {type(spec).__name__}")
    return 0


def _folder(out: Path | None, name: str) -> RunDirectory:
    return RunDirectory(out or Path("runs") / name)
