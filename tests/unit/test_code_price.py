"""Codes that are chosen by what they cost as well as by their distance."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from anycodec.checkpoint import write_arrays
from anycodec.config.quantizer import EmaSpec, FsqSpec, ResidualSpec
from anycodec.errors import RunError
from anycodec.torch.quantizers import make_quantizer
from anycodec.torch.quantizers.price import PRICES, CodePrice
from anycodec.torch.weights import load_weights


def entropy(tokens: torch.Tensor) -> float:
    """Bits a token."""
    p = torch.bincount(tokens.flatten()).double()
    p = p[p > 0] / p.sum()
    return float(-(p * p.log2()).sum())


def test_a_price_is_the_weight_times_the_energy_times_the_bits() -> None:
    price = CodePrice(0.1, (4, 4))
    assert price.of_codes().eq(0).all(), "nothing is known before the first batch"
    z = torch.full((1, 3, 8), 2.0)  # |z|^2 = 12
    tokens = [torch.tensor([[0, 0, 0, 0, 1, 1, 2, 3]]), torch.zeros(1, 8, dtype=torch.int64)]
    for _ in range(2000):
        price.learn(z, tokens)
    bits = price.of_codes() / (0.1 * 12)
    torch.testing.assert_close(bits[0], torch.tensor([1.0, 2, 3, 3]), atol=1e-3, rtol=0)
    never = math.log2(4 / 2**-6)
    torch.testing.assert_close(bits[1], torch.tensor([0.0, never, never, never]), atol=1e-3, rtol=0)


def test_a_weight_trades_distance_for_entropy() -> None:
    """On a Gaussian source: the more a bit counts, the fewer bits, the larger the error."""
    rates, distortions = [], []
    for weight in (0.0, 0.05, 0.2):
        torch.manual_seed(0)
        spec = ResidualSpec(stages=2, rate_weight=weight, quantizer=EmaSpec(codebook_size=16, decay=0.9))
        quantizer = make_quantizer(spec, 2).train()
        for _ in range(150):
            quantizer(torch.randn(1, 2, 500))
        z = torch.randn(1, 2, 4000)
        out = quantizer.eval()(z)
        rates.append(sum(entropy(level) for level in out.tokens))
        distortions.append(float((out.values - z).square().mean()))
    assert rates == sorted(rates, reverse=True)
    assert distortions == sorted(distortions)
    assert rates[-1] < 0.6 * rates[0]
    # Shannon's bound of a unit Gaussian, two values a latent: no code is below it
    for rate, distortion in zip(rates, distortions, strict=True):
        assert rate > -math.log2(distortion) - 0.05


def test_prices_are_kept_with_the_weights() -> None:
    spec = ResidualSpec(stages=2, rate_weight=0.1, quantizer=EmaSpec(codebook_size=8))
    trained, loaded = make_quantizer(spec, 3), make_quantizer(spec, 3)
    trained.train()(torch.randn(1, 3, 100))
    loaded.load_state_dict(trained.state_dict())
    z = torch.randn(1, 3, 100)
    assert all(map(torch.equal, trained.eval()(z).tokens, loaded.eval()(z).tokens))
    free = make_quantizer(spec.model_copy(update={"rate_weight": 0.0}), 3)
    assert not any("price" in name for name in free.state_dict())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantizer": FsqSpec(levels=(5, 5))}, "set rate_weight: 0"),
        ({"quantizer": EmaSpec(), "shared": True}, "set shared: false"),
    ],
)
def test_what_has_no_prices_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ResidualSpec.model_validate({"rate_weight": 0.1} | settings)


# --- weights of other runs ----------------------------------------------------------------------------


def counting(rate_weight: float) -> nn.Module:
    torch.manual_seed(round(1000 * rate_weight))
    return make_quantizer(
        ResidualSpec(stages=2, rate_weight=rate_weight, quantizer=EmaSpec(codebook_size=8)), 4
    )


def saved(quantizer: nn.Module, path: Path) -> Path:
    write_arrays(path, {name: value.numpy() for name, value in quantizer.state_dict().items()})
    return path


def test_a_training_can_begin_to_count_bits_or_end_to(tmp_path: Path) -> None:
    plain, priced = counting(0), counting(0.01)
    start = priced.state_dict()["price.shares"].clone()
    load_weights(priced, saved(plain, tmp_path / "plain.safetensors"), anew=PRICES)
    assert torch.equal(priced.state_dict()["price.shares"], start)
    assert all(torch.equal(value, priced.state_dict()[name]) for name, value in plain.state_dict().items())
    load_weights(plain, saved(priced, tmp_path / "priced.safetensors"), anew=PRICES)


def test_prices_go_on_where_both_have_them(tmp_path: Path) -> None:
    before, after = counting(0.01), counting(0.02)
    before.state_dict()["price.shares"].copy_(torch.rand_like(before.state_dict()["price.shares"]))
    load_weights(after, saved(before, tmp_path / "a.safetensors"), anew=PRICES)
    assert torch.equal(after.state_dict()["price.shares"], before.state_dict()["price.shares"])


def test_a_run_is_loaded_with_its_prices_or_not_at_all(tmp_path: Path) -> None:
    plain, priced = counting(0), counting(0.01)
    with pytest.raises(RunError, match=r"price\.shares"):
        load_weights(priced, saved(plain, tmp_path / "a.safetensors"))
