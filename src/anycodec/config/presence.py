"""Files and weights that a configuration names and that must be there."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from anycodec.cache import require_weights
from anycodec.config.metrics import metric_weights
from anycodec.config.mistakes import place
from anycodec.config.run import RunSpec
from anycodec.config.source import Node
from anycodec.errors import UserError, WeightsError
from anycodec.urls import has_credentials, url_of


def missing_data(root: Node) -> Iterator[UserError]:
    """Mistakes about files that the data section names, found even beside other mistakes."""
    data = (root.section or {}).get("data")
    if data is None or data.section is None:
        return
    given = data.section.get("root")
    if given is None or given.value in (None, ""):
        yield UserError("missing key `data.root`: which data?", where=data.where, how="add data.root=DIR")
    elif isinstance(given.value, str) and has_credentials(given.value):
        yield UserError(
            "`data.root` holds a password: a configuration is stored and shared with its runs",
            where=given.where,
            how="leave it out, and give it as the protocol's library wants it, such as AWS_SECRET_ACCESS_KEY",
        )
    elif isinstance(given.value, str) and not _exists(given.value):
        yield UserError(
            f"`data.root`: there is no file or folder {Path(given.value).absolute()}",
            where=given.where,
            how="give a folder, a file or a glob pattern that is there: data.root=DIR",
        )
    manifest = (data.section.get("split") or data).section
    path = (manifest or {}).get("path")
    if path and isinstance(path.value, str) and not Path(path.value).is_file():
        yield UserError(
            f"`data.split.path`: there is no file {Path(path.value).absolute()}",
            where=path.where,
            how="write it with: anycodec split DIR --by file -o manifest.json",
        )


def missing_latents(root: Node) -> Iterator[UserError]:
    """A mistake where the folder of latents that the configuration names is not one."""
    given = (root.section or {}).get("latents")
    if given is None or not isinstance(given.value, str):
        return
    if not (Path(given.value) / "manifest.json").is_file():
        yield UserError(
            f"`latents`: there are no latents in {Path(given.value).absolute()}",
            where=given.where,
            how="write them with: anycodec latents RUN DIR -o OUT",
        )


def missing_codec(root: Node) -> Iterator[UserError]:
    """A mistake where the folder that should be a codec's run is not one."""
    given = (root.section or {}).get("codec")
    if given is None or not isinstance(given.value, str):
        return
    if not (Path(given.value) / "config.yaml").is_file():
        yield UserError(
            f"`codec`: there is no run in {Path(given.value).absolute()}",
            where=given.where,
            how="train a codec first, and name its folder: codec=runs/NAME",
        )


def missing_weights(spec: RunSpec, root: Node) -> Iterator[UserError]:
    """Loss terms and metrics whose network has no weights on this machine."""
    needed = [(f"losses.{name}", term.pretrained) for name, term in spec.losses.items()]
    needed += [("train.best.metric", metric_weights(spec.train.best.metric))]
    needed += [("train.keep_best", metric_weights(metric)) for metric in spec.train.keep_best]
    for key, name in needed:
        try:
            if name is not None:
                require_weights(name)
        except WeightsError as error:
            yield placed(key, error, root)


def placed(key: str, mistake: UserError, root: Node) -> UserError:
    """A mistake with the place of the key that holds it."""
    return UserError(f"`{key}`: {mistake.what}", where=place(root, key.split(".")), how=mistake.how)


def _exists(root: str) -> bool:
    """Whether `root` is there, or matches something as a glob pattern."""
    if url_of(root) is not None or Path(root).exists():
        return True
    return any(glob.iglob(root, recursive=True, include_hidden=True))  # noqa: PTH207 (absolute patterns)
