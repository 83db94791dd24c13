"""Writes docs/config-keys.md: every setting, as `anycodec config keys` lists them."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from anycodec.config.keys import ConfigKey, config_keys
from anycodec.config.kinds import KINDS

PAGE = Path(__file__).parents[1] / "docs" / "config-keys.md"

INTRODUCTION = """# All settings

Every key with its type, default and meaning, as `anycodec config keys` prints them, with `--kind generator`
those of generators. A part in brackets, `[type=vqgan]`, says which types have the key; `<name>` stands for a
name of your choice.
"""


def section_of(entry: ConfigKey) -> str:
    """The part of the configuration that holds the key: its first word."""
    head = entry.key.split(".")[0].split("[")[0]
    return head if head != entry.key else "run"


def row(entry: ConfigKey) -> str:
    """One line of a Markdown table; a bar outside of code would end the cell."""
    kind, meaning = (text.replace("|", "\\|") for text in (entry.type, entry.description))
    return f"| `{entry.key}` | {kind} | `{entry.default}` | {meaning} |"


def main() -> None:
    """Write the page."""
    lines = [INTRODUCTION]
    for kind in KINDS.values():
        lines += [f"## Of a {kind}", ""]
        for section, entries in groupby(sorted(config_keys(kind), key=section_of), key=section_of):
            lines += [f"### {section}", "", "| key | type | default | meaning |", "|---|---|---|---|"]
            lines += [*map(row, entries), ""]
    PAGE.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
