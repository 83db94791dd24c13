"""Configuration file and overrides -> a checked `RunSpec`; all mistakes in one go."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from anycodec.cache import require_weights
from anycodec.config.keys import ConfigKey, config_keys
from anycodec.config.metrics import metric_weights
from anycodec.config.mistakes import explain, place
from anycodec.config.overrides import apply_overrides
from anycodec.config.run import RunSpec, cross_check
from anycodec.config.schema import TAG
from anycodec.config.secrets import remove_secrets
from anycodec.config.source import Node, read_file, read_scalar
from anycodec.errors import ConfigError, UserError, WeightsError

__all__ = [
    "ConfigKey",
    "check_tree",
    "config_keys",
    "dump_settings",
    "dump_spec",
    "json_schema",
    "load_spec",
]


def load_spec(path: Path, overrides: Sequence[str] = (), *, check_paths: bool = True) -> RunSpec:
    """Read, override and check a configuration.

    Args:
        path: a YAML or JSON file, or the folder of a run.
        overrides: `dotted.key=value`, later ones win (see `anycodec.config.overrides`). Relative
            paths, in the file too, are relative to the current folder.
        check_paths: whether data and published weights must be there.

    Raises:
        ConfigError: every mistake, each with the line or override that holds it.
    """
    root, mistakes = read_file(path)
    mistakes += apply_overrides(root, overrides)
    mistakes += remove_secrets(root)
    return check_tree(root, mistakes, check_paths=check_paths)


def check_tree(root: Node, mistakes: Sequence[UserError] = (), *, check_paths: bool = True) -> RunSpec:
    """The configuration that a tree of settings says.

    Args:
        root: the settings.
        mistakes: those found before.
        check_paths: whether data and published weights must be there.

    Raises:
        ConfigError: every mistake, each with the place that holds it.
    """
    found = list(mistakes)
    spec: RunSpec | None = None
    try:
        spec = RunSpec.model_validate_json(json.dumps(root.plain()), strict=True)
    except ValidationError as error:
        found += explain(error, root)
    if spec:
        found += [_placed(key, mistake, root) for key, mistake in cross_check(spec)]
    if check_paths:
        found += _missing_paths(root)
        found += _missing_weights(spec, root) if spec else ()
    if found or spec is None:
        raise ConfigError(sorted(found, key=_reading_order))
    return spec


def dump_spec(spec: RunSpec) -> str:
    """The whole configuration as YAML in the order of the specs; loading it gives an equal spec."""
    return dump_settings(spec.model_dump(mode="json"))


def dump_settings(settings: Mapping[str, Any]) -> str:
    """Settings as YAML that reads back as the same; types first."""
    text: str = yaml.dump(
        _tags_first(settings),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
    return text


def json_schema() -> dict[str, Any]:
    """The JSON schema of a configuration, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **RunSpec.model_json_schema()}


def _tags_first(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    names = sorted(value, key=lambda name: name != TAG)
    return {name: _tags_first(value[name]) for name in names}


class _Dumper(yaml.SafeDumper):
    """Quotes text that `read_scalar` would read as something else, writes lists on one line."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    quotes = None if read_scalar(value) == value else "'"
    style = quotes if value.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _list(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)


def _reading_order(mistake: UserError) -> tuple[bool, int]:
    """By line, overrides last."""
    where = mistake.where or ""
    line = where.rpartition(":")[2]
    return where.startswith("override"), int(line) if line.isdigit() else 0


def _placed(key: str, mistake: UserError, root: Node) -> UserError:
    return UserError(f"`{key}`: {mistake.what}", where=place(root, key.split(".")), how=mistake.how)


def _missing_paths(root: Node) -> Iterator[UserError]:
    """Mistakes about files that the data section names, found even beside other mistakes."""
    data = (root.section or {}).get("data")
    if data is None or data.section is None:
        return
    given = data.section.get("root")
    if given is None or given.value in (None, ""):
        yield UserError("missing key `data.root`: which data?", where=data.where, how="add data.root=DIR")
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


def _missing_weights(spec: RunSpec, root: Node) -> Iterator[UserError]:
    """Loss terms and metrics whose network has no weights on this machine."""
    needed = [(f"losses.{name}", term.pretrained) for name, term in spec.losses.items()]
    needed += [("train.best.metric", metric_weights(spec.train.best.metric))]
    needed += [("train.keep_best", metric_weights(metric)) for metric in spec.train.keep_best]
    for key, name in needed:
        try:
            if name is not None:
                require_weights(name)
        except WeightsError as error:
            yield _placed(key, error, root)


def _exists(root: str) -> bool:
    """Whether `root` is there, or matches something as a glob pattern."""
    if Path(root).exists():
        return True
    return any(glob.iglob(root, recursive=True, include_hidden=True))  # noqa: PTH207 (absolute patterns)
