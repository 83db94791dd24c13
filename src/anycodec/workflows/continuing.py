"""Whether a folder can hold a training: a new one, or the continuation of the one that it holds."""

from __future__ import annotations

import shlex

from anycodec.checkpoint import RunDirectory
from anycodec.config.run import RunSpec
from anycodec.errors import RunError
from anycodec.workflows.differences import differences

# what may change when a run is continued: how long and how it is watched, not what it learns
_FREE_ON_RESUME = {"train": {"steps", "val_every", "val_batches", "checkpoint_every", "log_every", "device",
                             "threads", "tensorboard", "wandb", "early_stop", "backup_dir"},
                   "data": {"root", "workers", "prefetch", "stage_to", "stage_limit_gb"}}  # fmt: skip
_NOT_TRAINED_HERE = {"imported": "imported weights", "best_of": "the best weights of another run"}


def check_folder(run: RunDirectory, spec: RunSpec, *, resume: bool) -> None:
    """Refuse to train over what is there.

    Raises:
        RunError: the folder holds another run, one that can't be continued with these settings, or none
            where one is to be continued.
    """
    if not run.config.is_file():
        if resume and run.path.exists() and any(run.path.iterdir()):
            raise RunError("nothing to resume: the folder holds no run", where=str(run.path))
        return
    manifest = run.read_manifest()
    for kind in ("imported", "best_of"):
        if kind in manifest:
            raise RunError(
                f"the run holds {_NOT_TRAINED_HERE[kind]}, and training would write over them",
                where=str(run.path),
                how=f"fine-tune them in another folder: --out FOLDER --init {shlex.quote(str(run.path))}",
            )
    if not resume:
        raise RunError(
            "the folder already holds a run",
            where=str(run.path),
            how="continue it with --resume, choose another folder with --out, or remove it",
        )
    changed = _changed(run.spec(), spec)
    if changed:
        raise RunError(
            "the run was started with other settings: " + "; ".join(changed[:6]),
            where=str(run.config),
            how="give the same settings, or start a new run with another --out",
        )


def _changed(old: RunSpec, new: RunSpec) -> list[str]:
    free = tuple(f"{part}.{key}" for part, keys in _FREE_ON_RESUME.items() for key in keys)
    free += ("engine",)
    changed = differences(old.model_dump(mode="json"), new.model_dump(mode="json"))
    return [
        f"{key} was {before}, now {after}"
        for key, (before, after) in changed.items()
        if not key.startswith(free)
    ]
