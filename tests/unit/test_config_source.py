"""Configuration text: YAML 1.2 scalars, JSON with comments, lines, and what is refused."""

import pytest

from anycodec.config.source import DEEPEST, LARGEST_FILE, parse_value, read_file, read_scalar
from anycodec.errors import ConfigError


def write(tmp_path, text, name="config.yaml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path):
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    (mistake,) = caught.value.mistakes
    return mistake


# YAML 1.2.2, table of section 10.3.2, and the words that YAML 1.1 reads differently
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.5E+2", 150),
        ("3e5", 300_000),
        ("2000.0", 2000.0),
        (".5", 0.5),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("010", 10),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("on", "on"),
        ("no", "no"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("1e", "1e"),
    ],
)
def test_scalars_follow_the_core_schema(text, value):
    found = read_scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_every_value_knows_its_line(tmp_path):
    path = write(
        tmp_path, "# header\ndata:\n  root: here\n  exclude:\n    - '*.tmp'\n    - x\ntrain: {steps: 5}\n"
    )
    root, mistakes = read_file(path)
    assert not mistakes
    data = root.section["data"]
    assert data.where == f"{path}:2"
    assert data.section["root"].where == f"{path}:3"
    assert [item.where for item in data.section["exclude"].value] == [f"{path}:5", f"{path}:6"]
    assert root.section["train"].section["steps"].where == f"{path}:7"


def test_json_with_comments(tmp_path):
    text = """{
    // a line comment with a "quote
    "$schema": "schema.json",
    "name": "a//b /* c */", /* a block
    of two lines */
\t"seed": 3,
    "list": [1, 2.5e-3, true, null, "\\ud83d\\ude00 \\u00e9 \\/ \\n"],
}"""
    root, mistakes = read_file(write(tmp_path, text, "c.jsonc"))
    assert not mistakes
    assert root.plain() == {"name": "a//b /* c */", "seed": 3, "list": [1, 0.0025, True, None, "😀 é / \n"]}
    assert root.section["seed"].where.endswith("c.jsonc:6")


def test_duplicate_keys_are_mistakes_that_name_both_lines(tmp_path):
    path = write(tmp_path, "a: 1\nb: {c: 1,\n  c: 2}\na: 3\n")
    root, mistakes = read_file(path)
    assert root.plain() == {"a": 1, "b": {"c": 1}}
    assert [(m.what, m.where, m.how) for m in mistakes] == [
        ("duplicate key `c`", f"{path}:3", f"keep one; the first is at {path}:2"),
        ("duplicate key `a`", f"{path}:4", f"keep one; the first is at {path}:1"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("a: 1\nb: &x [1]\nc: *x\n", 2, "anchors"),
        ("a: !!python/object/apply:os.system [id]\n", 1, "tags"),
        ("a: 1\nb: !!str 1\n", 2, "tags"),
        ("a: 1\n\tb: 2\n", 2, "'\\t'"),
        ("a: [1,\nb: 2\n", 3, "while parsing a flow sequence from line 1"),
        ("a: 'open\n", 2, "quoted scalar"),
        ("a: 1\n---\nb: 2\n", 2, "document"),
        ("a: " + "[" * (DEEPEST + 1), 1, "levels of nesting"),
    ],
)
def test_broken_or_dangerous_yaml_is_refused_at_its_line(tmp_path, text, line, word):
    path = write(tmp_path, text)
    mistake = refusal(path)
    assert mistake.where == f"{path}:{line}"
    assert word in mistake.what


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"a: " + b"x" * LARGEST_FILE, "larger than 256 KiB"),
        (b"a: 1\nb: \xff\n", "UTF-8"),
        (b"a: \x01\n", "characters"),
        (b"- 1\n- 2\n", "no `key: value`"),
        (b"just text\n", "no `key: value`"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, content, word):
    assert word in refusal(write(tmp_path, content)).what


def test_a_billion_laughs_do_not_expand(tmp_path):
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 10))
    assert "anchors" in refusal(write(tmp_path, "l0: &l0 [x]\n" + levels)).what


def test_missing_file_offers_the_nearest_name(tmp_path):
    write(tmp_path, "", "nanopore.yaml")
    mistake = refusal(tmp_path / "nanopor.yaml")
    assert mistake.how == "did you mean `nanopore.yaml`?"


def test_unknown_suffix(tmp_path):
    mistake = refusal(write(tmp_path, "a = 1", "config.toml"))
    assert ".toml" in mistake.what
    assert ".yaml" in mistake.how


def test_a_run_stands_for_its_config(tmp_path):
    write(tmp_path, "name: x")
    assert read_file(tmp_path)[0].plain() == {"name": "x"}


@pytest.mark.parametrize("text", ["*.pod5", "@x", "a: b #c", "%TEMP%", "!x", "/a b/c"])
def test_override_values_need_no_quoting(text):
    assert parse_value(text, "here").value == text


def test_override_values_in_flow_style():
    assert parse_value("[2, 1e-3, on]", "here").plain() == [2, 1e-3, "on"]
    assert parse_value("{type: l1, weight: 2}", "here").plain() == {"type": "l1", "weight": 2}
    assert parse_value("'2024'", "here").value == "2024"
    with pytest.raises(ConfigError, match=r"(?s)broken syntax.*where: here"):
        parse_value("[1, 2", "here")
