"""Configuration file and overrides -> a checked spec of its kind; all mistakes in one go."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from anycodec.config.base import Spec
from anycodec.config.keys import ConfigKey, config_keys
from anycodec.config.kinds import CODEC, GENERATOR, PRIOR, AnyKind, Kind, S, kind_of
from anycodec.config.mistakes import explain, place
from anycodec.config.overrides import apply_overrides
from anycodec.config.presence import missing_codec, missing_data, missing_latents, missing_weights, placed
from anycodec.config.run import RunSpec
from anycodec.config.schema import TAG
from anycodec.config.secrets import remove_secrets
from anycodec.config.source import Node, read_file, read_scalar
from anycodec.errors import ConfigError, UserError

__all__ = [
    "ConfigKey",
    "check_tree",
    "config_keys",
    "dump_settings",
    "dump_spec",
    "json_schema",
    "load_any",
    "load_kind",
    "load_spec",
]


def load_spec(path: Path, overrides: Sequence[str] = (), *, check_paths: bool = True) -> RunSpec:
    """`load_kind` of a codec's configuration."""
    return load_kind(CODEC, path, overrides, check_paths=check_paths)


def load_kind(kind: Kind[S], path: Path, overrides: Sequence[str] = (), *, check_paths: bool = True) -> S:
    """Read, override and check a configuration of one kind.

    Args:
        kind: what it must be of.
        path: a YAML or JSON file, or the folder of a run.
        overrides: `dotted.key=value`, later ones win (see `anycodec.config.overrides`). Relative
            paths, in the file too, are relative to the current folder.
        check_paths: whether data and published weights must be there.

    Raises:
        ConfigError: every mistake, each with the line or override that holds it; or it is of another kind.
    """
    found, spec = load_any(path, overrides, check_paths=check_paths, expected=kind)
    assert found is kind
    assert isinstance(spec, kind.spec)
    return spec


def load_any(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    check_paths: bool = True,
    expected: AnyKind | None = None,
) -> tuple[AnyKind, Spec]:
    """Read, override and check a configuration; its kind and what it says. See `load_kind`."""
    root, mistakes = read_file(path)
    kind = kind_of(root, overrides)
    if expected is not None and kind is not expected:
        what = f"this configuration is one of kind {kind}, not {expected}: it has `{kind}`"
        raise ConfigError([UserError(what, where=place(root, [kind.key]))])
    mistakes += apply_overrides(root, overrides, kind)
    mistakes += remove_secrets(root)
    return kind, check_tree(root, mistakes, check_paths=check_paths, kind=kind)


def check_tree(
    root: Node, mistakes: Sequence[UserError] = (), *, kind: Kind[S], check_paths: bool = True
) -> S:
    """The configuration that a tree of settings says.

    Args:
        root: the settings.
        mistakes: those found before.
        kind: what they are of.
        check_paths: whether data and published weights must be there.

    Raises:
        ConfigError: every mistake, each with the place that holds it.
    """
    found = list(mistakes)
    spec: S | None = None
    try:
        spec = kind.spec.model_validate_json(json.dumps(root.plain()), strict=True)
    except ValidationError as error:
        found += explain(error, root, kind)
    if spec:
        found += [placed(key, mistake, root) for key, mistake in kind.cross_check(spec)]
    if check_paths:
        found += missing_data(root)
        found += missing_latents(root) if kind is GENERATOR else ()
        found += missing_codec(root) if kind is PRIOR else ()
        found += missing_weights(spec, root) if isinstance(spec, RunSpec) else ()
    if found or spec is None:
        raise ConfigError(sorted(found, key=_reading_order))
    return spec


def dump_spec(spec: Spec) -> str:
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


def json_schema(kind: AnyKind = CODEC) -> dict[str, Any]:
    """The JSON schema of configurations of a kind, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **kind.spec.model_json_schema()}


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
