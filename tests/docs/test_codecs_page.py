"""The numbers and the example of docs/codecs.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from pydantic import TypeAdapter

from anycodec.config.codec import CodecSpec
from anycodec.config.loader import load_spec
from anycodec.torch.codecs import make_codec
from contracts.specs import CODECS, type_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "codecs.md").read_text(encoding="utf-8")
SIZES = re.findall(r"^\| `(\{type:.+?\}|configs/\S+)` \|.*\| ([\d,]+) \|$", PAGE, re.MULTILINE)
EXAMPLE = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def spec_of(settings: str) -> CodecSpec:
    if settings.startswith("configs/"):
        return load_spec(ROOT / settings, check_paths=False).codec
    return TypeAdapter(CodecSpec).validate_python(yaml.safe_load(settings))


def test_every_codec_has_its_section_and_size() -> None:
    kinds = {type_of(kind) for kind in CODECS}
    assert set(re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)) - {"Sizes"} == kinds
    assert {spec_of(settings).type for settings, _ in SIZES} == kinds


@pytest.mark.parametrize(("settings", "count"), SIZES)
def test_parameters_are_as_many_as_the_page_says(settings: str, count: str) -> None:
    spec = spec_of(settings)
    with torch.device("meta"):
        codec = make_codec(spec, in_channels=1 if spec.axes == "T" else 3)
    assert f"{sum(p.numel() for p in codec.parameters()):,}" == count


def test_the_example_is_a_codec() -> None:
    names: dict[str, type] = {}
    exec(compile(EXAMPLE, "codecs.md", "exec", dont_inherit=True), names)
    spec = names["LinearSpec"](quantizer={"type": "vq", "codebook_size": 16})
    codec = names["Linear"](spec, 2).eval()
    x = torch.randn(3, 2, 20)
    with torch.no_grad():
        assert codec.encode(x)[0].shape == (3, 5)
        assert torch.equal(codec.decode(codec.encode(x)), codec(x).reconstruction)
        assert codec(x).reconstruction.shape == x.shape
