"""Configuration text -> a tree in which every value knows the line or the override that holds it.

Files are YAML, or JSON with // and /* */ comments and trailing commas (blanked, then read as the
YAML that JSON is). Scalars follow the YAML 1.2 core schema, which PyYAML's own YAML 1.1 rules do
not: `1e-4` is a number, `on` and `1:30` are text, `010` is ten.

A config is data: tags, anchors and aliases are refused, size and depth are bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from anycodec.config.nearest import did_you_mean
from anycodec.errors import ConfigError, UserError

YAML_SUFFIXES = (".yaml", ".yml")
JSON_SUFFIXES = (".json", ".jsonc")
LARGEST_FILE = 256 * 1024
"""Bytes of a configuration file that are read at most."""
DEEPEST = 32
"""Levels of nesting in a configuration file at most."""

Scalar = str | int | float | bool | None


@dataclass(slots=True)
class Node:
    """A value of the configuration.

    Attributes:
        value: a scalar, a section by key, or a list.
        where: `file:line` of its key, or the override that set it.
        text: a scalar as written, for settings that take text (a folder called 2024).
    """

    value: Scalar | dict[str, Node] | list[Node]
    where: str
    text: str = ""

    @property
    def section(self) -> dict[str, Node] | None:
        """The entries, None where this is not a section."""
        return self.value if isinstance(self.value, dict) else None

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def read_file(path: Path) -> tuple[Node, list[UserError]]:
    """Read a configuration file into its root section, with the mistakes that leave it readable.

    A folder stands for the `config.yaml` in it (a run directory). A top-level `$schema`, which
    editors want in JSON, is ignored.

    Raises:
        ConfigError: missing, too large, not UTF-8, or not YAML or JSON.
    """
    file = path / "config.yaml" if path.is_dir() else path
    text = _read_text(file)
    root, mistakes = _parse(
        _blank_comments(text) if file.suffix.lower() in JSON_SUFFIXES else text, str(file)
    )
    if root.value is None:
        root.value = {}
    if root.section is None:
        raise ConfigError([UserError("the file holds no `key: value` settings", where=str(file))])
    root.section.pop("$schema", None)
    return Node(root.section, str(file)), mistakes


def from_plain(value: Any, where: str) -> Node:
    """The tree of a plain value, all of it placed at `where`."""
    if isinstance(value, dict):
        return Node({key: from_plain(item, where) for key, item in value.items()}, where)
    if isinstance(value, list):
        return Node([from_plain(item, where) for item in value], where)
    return Node(value, where, str(value))


def parse_value(text: str, where: str) -> Node:
    """Read the value of an override: a scalar, or a list, section or quoted text in YAML flow style.

    Raises:
        ConfigError: unbalanced brackets or quotes, duplicate keys.
    """
    if not text.startswith(("[", "{", '"', "'")):
        return Node(read_scalar(text), where, text)
    node, mistakes = _parse(text, where, with_lines=False)
    if mistakes:
        raise ConfigError(mistakes)
    return node


_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_LONGEST_NUMBER = 64


def read_scalar(text: str) -> Scalar:
    """The value of an unquoted scalar (YAML 1.2.2, section 10.3.2, without infinity and NaN).

    Whole numbers in exponent notation are integers (`1e6` steps).
    """
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if not _FLOAT.fullmatch(text):
        return text
    number = float(text)
    if number in (float("inf"), float("-inf")):
        return text
    whole = "e" in text.lower() and number.is_integer() and abs(number) < 2**53
    return int(number) if whole else number


def _read_text(file: Path) -> str:
    def refuse(what: str, how: str | None = None, where: str | None = None) -> ConfigError:
        return ConfigError([UserError(what, where=where or str(file), how=how)])

    if not file.is_file():
        raise refuse(f"there is no configuration file {file.name}", _near_file(file))
    if file.suffix.lower() not in YAML_SUFFIXES + JSON_SUFFIXES:
        raise refuse(
            f"`{file.suffix}` is not the end of a configuration's name",
            f"known ends: {', '.join(YAML_SUFFIXES + JSON_SUFFIXES)}",
        )
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        raise refuse(f"the file cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_FILE:
        raise refuse(f"the file is larger than {LARGEST_FILE // 1024} KiB: is it a configuration?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise refuse("the file is not UTF-8 text", "save it as UTF-8", f"{file}:{line}") from error


def _near_file(file: Path) -> str:
    folder = file.parent
    names = (
        [entry.name for entry in folder.iterdir() if entry.suffix.lower() in YAML_SUFFIXES + JSON_SUFFIXES]
        if folder.is_dir()
        else []
    )
    near = did_you_mean(file.name, names)
    return near or "give a YAML or JSON file, or the folder of a run"


_JSON_PARTS = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?\*/|\t', re.DOTALL)


def _blank_comments(text: str) -> str:
    """Comments and tabs outside strings become spaces; lines stay where they are."""

    def blank(part: re.Match[str]) -> str:
        return part[0] if part[0].startswith('"') else re.sub(r"[^\n]", " ", part[0])

    return _JSON_PARTS.sub(blank, text)


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that a configuration may not use."""


class _Composer(yaml.SafeLoader):
    """Composes nodes, without aliases, tags and deep nesting."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _Refused(None, None, "anchors (&) and aliases (*) are not used here", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _Refused(None, None, f"tags ({event.tag}) are not used here", event.start_mark)
        self.depth += 1
        if self.depth > DEEPEST:
            raise _Refused(None, None, f"more than {DEEPEST} levels of nesting", event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _parse(text: str, name: str, *, with_lines: bool = True) -> tuple[Node, list[UserError]]:
    builder = _Builder(name, with_lines)
    try:
        root = yaml.compose(text, Loader=_Composer)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([builder.syntax_error(error)]) from error
    except yaml.YAMLError as error:
        raise ConfigError([UserError("the text holds characters that YAML forbids", where=name)]) from error
    node = Node(None, name) if root is None else builder.build(root, root)
    return node, builder.mistakes


class _Builder:
    """Turns composed YAML nodes into our tree, collecting mistakes."""

    def __init__(self, name: str, with_lines: bool) -> None:
        self.name = name
        self.with_lines = with_lines
        self.mistakes: list[UserError] = []

    def place(self, mark: yaml.Mark | None) -> str:
        return f"{self.name}:{mark.line + 1}" if mark and self.with_lines else self.name

    def syntax_error(self, error: yaml.MarkedYAMLError) -> UserError:
        problem = error.problem or "broken syntax"
        if isinstance(error, _Refused):
            return UserError(problem, where=self.place(error.problem_mark), how="write the value out")
        tab = "'\\t'" in problem
        how = "indent with spaces, not tabs" if tab else "check brackets, quotes, colons and indentation"
        begun = f" {error.context} from line {error.context_mark.line + 1}" if error.context_mark else ""
        return UserError(
            f"broken syntax: {problem}{begun}",
            where=self.place(error.problem_mark or error.context_mark),
            how=how,
        )

    def build(self, node: yaml.Node, key: yaml.Node) -> Node:
        """The tree under `node`, placed at the line of `key`."""
        where = self.place(key.start_mark)
        if isinstance(node, yaml.MappingNode):
            return Node(self._entries(node), where)
        if isinstance(node, yaml.SequenceNode):
            return Node([self.build(item, item) for item in node.value], where)
        text = self._text(node.value, where)
        quoted = isinstance(node, yaml.ScalarNode) and node.style is not None
        return Node(text if quoted else read_scalar(text), where, text)

    def _entries(self, node: yaml.MappingNode) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for key, value in node.value:
            where = self.place(key.start_mark)
            if not isinstance(key, yaml.ScalarNode):
                self.mistakes.append(UserError("a key must be a word", where=where, how="write `key: value`"))
                continue
            name = self._text(key.value, where)
            if name in entries:
                how = f"keep one; the first is at {entries[name].where}"
                self.mistakes.append(UserError(f"duplicate key `{name}`", where=where, how=how))
                continue
            entries[name] = self.build(value, key)
        return entries

    def _text(self, text: str, where: str) -> str:
        """JSON's \\ud83d\\ude00 pairs, which YAML leaves as two halves, become one character."""
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self.mistakes.append(UserError("half of a surrogate pair is not a character", where=where))
            return "?"
