"""The list of what the second engine has, beside its modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

import anycodec
from anycodec.config.codec import CodecSpec, SimVqganSpec
from anycodec.config.discriminator import DiscriminatorSpec
from anycodec.config.engines import JAX, engine_misfits
from anycodec.config.loss import LossSpec
from anycodec.config.quantizer import EmaSpec, QuantizerSpec, ResidualSpec
from anycodec.config.train import TrainSpec

UNIONS = {
    "codec": ("codecs", CodecSpec),
    "quantizer": ("quantizers", QuantizerSpec),
    "loss": ("losses", LossSpec),
    "discriminator": ("discriminators", DiscriminatorSpec),
}


def types(union: Any) -> set[str]:
    """Tags of a discriminated union."""
    members = get_args(get_args(union)[0]) or (get_args(union)[0],)
    return {member.model_fields["type"].default for member in members}


@pytest.mark.parametrize("kind", UNIONS)
def test_every_type_with_a_module_of_its_name_is_listed_and_no_other(kind: str) -> None:
    folder, union = UNIONS[kind]
    modules = {path.stem for path in (Path(anycodec.__file__).parent / "jax" / folder).glob("*.py")}
    assert set(JAX[kind]) == types(union) & modules


@pytest.mark.parametrize(("weight", "settings"), [(0.0, []), (0.01, ["codec.quantizer.rate_weight"])])
def test_prices_of_codes_are_torchs_alone(weight: float, settings: list[str]) -> None:
    stages = ResidualSpec(stages=2, rate_weight=weight, quantizer=EmaSpec())
    misfits = engine_misfits("jax", SimVqganSpec(quantizer=stages), {}, None, TrainSpec())
    assert [misfit.setting for misfit in misfits] == settings
