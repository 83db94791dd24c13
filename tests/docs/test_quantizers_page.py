"""docs/quantizers.md names every quantizer and setting there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anycodec.config.quantizer import CodebookSpec
from contracts.specs import QUANTIZERS, type_of

PAGE = (Path(__file__).parents[2] / "docs" / "quantizers.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([\w ]+)$\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
OPTIONS = SECTIONS["Options of tables"]
ADVANCED = {"kmeans_iterations"}
"""Settings that the page leaves to the list of all settings."""


def test_every_quantizer_has_its_section():
    kinds = {type_of(kind) for kind in QUANTIZERS}
    assert {name for name in SECTIONS if name.islower()} == kinds
    assert set(re.findall(r"^\| \[`(\w+)`\]\(#\w+\)", PAGE, re.MULTILINE)) == kinds


@pytest.mark.parametrize("kind", QUANTIZERS, ids=type_of)
def test_every_setting_of_a_quantizer_is_named(kind):
    shared = OPTIONS if issubclass(kind, CodebookSpec) else ""
    named = re.findall(r"`(\w+)(?:: [^`]+)?`", SECTIONS[type_of(kind)] + shared)
    assert set(kind.model_fields) - {"type", "quantizer"} - set(named) - ADVANCED == set()
