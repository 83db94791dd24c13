"""What the manual shows must exist: its Python, its commands, its settings.

A block that can't be checked says why in an HTML comment above it: `<!-- not checked: reason -->`.
"""

import ast
import importlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[2]
GENERATED = {"config-keys.md"}
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if page.name not in GENERATED),
]
FENCE = re.compile(
    r"(?:^<!-- not checked: (?P<reason>.+?) -->\n+)?^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    code: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start("code")) + 1,
            found["language"],
            found["code"],
            found["reason"],
        )
        for found in FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page) if block.reason is None]
PYTHON = [block for block in BLOCKS if block.language == "python"]


def commands(program: str) -> list[tuple[str, list[str]]]:
    """(place, arguments) of each call of `program` in the shell blocks."""
    found = []
    for block in BLOCKS:
        if block.language not in ("sh", "console"):
            continue
        for line in block.code.replace("\\\n", " ").splitlines():
            call = re.split(r" [>|] ", line.removeprefix("$ "))[0]
            words = shlex.split(call, comments=True)
            if words[:1] == [program]:
                found.append((f"{block}: {line}", words[1:]))
    return found


ANYCODEC = commands("anycodec")


@pytest.fixture(scope="module")
def command_line():
    from anycodec.cli import app

    return typer.main.get_command(app)


def resolve(group, arguments: list[str]):
    """The command that the words name, the words that are left, and its path."""
    path = []
    while hasattr(group, "commands"):
        name = arguments[0] if arguments else ""
        assert name in group.commands, f"no verb {name!r} among {sorted(group.commands)}"
        group, arguments = group.commands[name], arguments[1:]
        path.append(name)
    return group, arguments, " ".join(path)


def test_there_is_something_to_check():
    assert PYTHON
    assert ANYCODEC


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles_and_names_what_exists(block):
    tree = ast.parse(block.code, filename=str(block))
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(name)) if name.startswith("anycodec"):
                module = importlib.import_module(name)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
            case ast.Attribute(value=ast.Name(id="anycodec"), attr=name):
                assert hasattr(importlib.import_module("anycodec"), name), f"anycodec.{name}"


@pytest.mark.parametrize(("place", "arguments"), ANYCODEC, ids=[place for place, _ in ANYCODEC])
def test_commands_use_verbs_and_options_that_exist(place, arguments, command_line):
    command, rest, path = resolve(command_line, arguments)
    context = command.context_class(command, info_name=path)
    parser = command.make_parser(context)
    _, surplus, _ = parser.parse_args(list(rest))
    assert not surplus, f"{path} takes no {surplus}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_verbs_in_running_text_exist(page, command_line):
    for verb in re.findall(r"`anycodec ([a-z]+)[ `]", page.read_text(encoding="utf-8")):
        assert verb in command_line.commands


@pytest.mark.parametrize(("place", "arguments"), ANYCODEC, ids=[place for place, _ in ANYCODEC])
def test_configurations_and_overrides_are_valid(place, arguments):
    from anycodec.config.loader import load_any

    configs = [word for word in arguments if word.startswith("configs/")]
    words = zip(["", *arguments], arguments, strict=False)
    overrides = [
        word
        for option, word in words
        if re.match(r"[a-z_.]+=", word) and option not in ("--grid", "--search")
    ]
    if not configs:
        assert not overrides or arguments[0] == "import", "overrides without a configuration"
        return
    load_any(ROOT / configs[0], overrides, check_paths=False)


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for place, words in commands("make"):
        assert [word for word in words if re.fullmatch("[a-z]+", word) and word not in targets] == [], place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("http") and Path(target).name not in GENERATED:
            assert (page.parent / target).exists(), target
    for path in re.findall(r"`((?:src|configs|docs|tests|benchmarks|scripts)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path
