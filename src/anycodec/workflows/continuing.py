"""Whether a folder can hold a training: a new one, or the continuation of the one that it holds."""

from __future__ import annotations

import shlex
from collections.abc import Collection

from anycodec.checkpoint import RunDirectory
from anycodec.config.kinds import Kind, S
from anycodec.config.train import FREE_ON_RESUME, WITHOUT_EFFECT
from anycodec.errors import RunError
from anycodec.workflows.differences import differences

_RUNNING = {
    *(f"train.{key}" for key in (*WITHOUT_EFFECT, "backup_dir", "compile", "tensorboard", "wandb")),
    *(
        f"data.{key}"
        for key in ("root", "workers", "prefetch", "stage_to", "stage_limit_gb", "cache_limit_gb")
    ),
}
_FREE = {"engine", "latents", "train.early_stop", *(f"train.{key}" for key in FREE_ON_RESUME), *_RUNNING}
"""What may change when a run is continued: how long, where and how it is watched, not what it learns."""
_NOT_TRAINED_HERE = {"imported": "imported weights", "best_of": "the best weights of another run"}


def check_folder(run: RunDirectory, kind: Kind[S], spec: S, *, resume: bool) -> None:
    """Refuse to train over what is there.

    Args:
        run: the folder.
        kind: what is trained.
        spec: its configuration.
        resume: whether the training is to continue the one of the folder.

    Raises:
        RunError: the folder holds another run, one that can't be continued with these settings, or none
            where one is to be continued.
    """
    if not run.config.is_file():
        if resume and run.path.exists() and any(run.path.iterdir()):
            raise RunError("nothing to resume: the folder holds no run", where=str(run.path))
        return
    manifest = run.read_manifest()
    for origin, what in _NOT_TRAINED_HERE.items():
        if origin in manifest:
            raise RunError(
                f"the run holds {what}, and training would write over them",
                where=str(run.path),
                how=f"fine-tune them in another folder: --out FOLDER --init {shlex.quote(str(run.path))}",
            )
    if not resume:
        raise RunError(
            "the folder already holds a run",
            where=str(run.path),
            how="continue it with --resume, choose another folder with --out, or remove it",
        )
    changed = _changed(run.spec_of(kind), spec)
    if changed:
        raise RunError(
            "the run was started with other settings: " + "; ".join(changed[:6]),
            where=str(run.config),
            how="give the same settings, or start a new run with another --out",
        )


def without_effect(key: str) -> bool:
    """Whether a setting says where a training runs and how it is watched: its result is the same, but for
    the order in which numbers are added and what several devices draw.

    Args:
        key: dotted, of the training's configuration.
    """
    return _below(key, _RUNNING)


def _changed(old: S, new: S) -> list[str]:
    changed = differences(old.model_dump(mode="json"), new.model_dump(mode="json"))
    return [
        f"{key} was {before}, now {after}"
        for key, (before, after) in changed.items()
        if not _below(key, _FREE)
    ]


def _below(key: str, settings: Collection[str]) -> bool:
    """Whether a dotted key is one of them, or part of one."""
    return key in settings or key.startswith(tuple(f"{setting}." for setting in settings))
