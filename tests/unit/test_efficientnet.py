"""EfficientNet-lite0 against what was published of it, and its weights against another implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from anycodec.cache import weights_path
from anycodec.errors import WeightsError
from anycodec.torch.features.efficientnet import (
    EfficientNetLite0,
    NormedConv,
    convert_efficientnet,
    load_features,
)

PUBLISHED_PARAMETERS = 4_652_008
"""With its classifier of 1000 classes (TensorFlow's efficientnet/lite)."""
CLASSIFIER = 1280 * 1000 + 1000
SUMS = (146.1419, 150.7222)
SQUARES = (219.3000, 226.0502)
LARGEST = (576, 576)


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    torch.manual_seed(0)
    return EfficientNetLite0()


def published(network: EfficientNetLite0) -> dict[str, Tensor]:
    """The state as the published file names it, classifier included."""
    names = {"stem.conv": "_conv_stem", "stem.norm": "_bn0", "head.conv": "_conv_head", "head.norm": "_bn1"}
    parts = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
    parts["project"] = ("_project_conv", "_bn2")
    state = {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    for name, value in network.state_dict().items():
        module, _, leaf = name.rpartition(".")
        if module in names:
            state[f"{names[module]}.{leaf}"] = value
        else:
            _, i, part, kind = module.split(".")
            state[f"_blocks.{i}.{parts[part][kind == 'norm']}.{leaf}"] = value
    return state


def test_it_has_as_many_parameters_as_published(network: EfficientNetLite0) -> None:
    assert sum(p.numel() for p in network.parameters()) == PUBLISHED_PARAMETERS - CLASSIFIER
    assert len(network.blocks) == 16
    assert not any(p.requires_grad for p in network.parameters())


def test_a_picture_shrinks_to_a_32nd_and_does_not_see_the_others(network: EfficientNetLite0) -> None:
    x = torch.rand(2, 3, 64, 96)
    h = network.stem(x)
    for block in network.blocks:
        h = block(h)
    assert h.shape == (2, 320, 2, 3)
    features = network(x)
    assert features.shape == (2, 1280)
    assert 0 <= features.min() <= features.max() <= 6
    torch.testing.assert_close(network(x[1:]), features[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "first"), [(3, (0, 1)), (5, (1, 2))])
def test_the_padding_is_that_of_tensorflow(kernel: int, first: tuple[int, int]) -> None:
    """SAME with stride 2 on 8 values: 4 outputs need (4 - 1) 2 + kernel - 8 more, the smaller half first."""
    conv = NormedConv(1, 1, kernel, stride=2, relu=False).eval()
    torch.nn.init.ones_(conv.conv.weight)
    before, after = first
    ramp = torch.arange(1.0, 9.0)
    padded = torch.cat([torch.zeros(before), ramp, torch.zeros(after)])
    expected = torch.stack([padded[2 * i : 2 * i + kernel].sum() for i in range(4)])
    column = torch.zeros(8, 8)
    column[3] = ramp  # one row, so that rows sum alone
    rows = conv(column[None, None])[0, 0]
    scale = (1 + 1e-3) ** -0.5
    torch.testing.assert_close(rows[rows.abs().sum(1) > 0][0], expected * scale)


def test_published_names_are_read(network: EfficientNetLite0, tmp_path: Path) -> None:
    state = published(network)
    torch.save(state, tmp_path / "lite0.pth")
    found = convert_efficientnet([tmp_path / "lite0.pth"])
    assert found.keys() == network.state_dict().keys()
    assert all(np.array_equal(found[name], value.numpy()) for name, value in network.state_dict().items())
    del state["_blocks.3._bn1.bias"]
    torch.save(state, tmp_path / "lite0.pth")
    with pytest.raises(WeightsError, match=r"1 missing: _blocks\.3\._bn1\.bias"):
        convert_efficientnet([tmp_path / "lite0.pth"])


def test_without_weights_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYCODEC_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="efficientnet-lite0 are not on this machine"):
        load_features(torch.device("cpu"))


def test_features_are_those_of_another_implementation() -> None:
    """efficientnet-lite-pytorch 0.1.0 with the published weights: sums, squares and the largest feature."""
    if not weights_path("efficientnet-lite0").is_file():
        pytest.skip("no weights: anycodec weights get efficientnet-lite0")
    x = torch.sin(torch.arange(2 * 3 * 224 * 224).float() * 0.37).reshape(2, 3, 224, 224)
    features = load_features(torch.device("cpu"))(x.numpy())
    np.testing.assert_allclose(features.sum(1), SUMS, rtol=1e-4)
    np.testing.assert_allclose(np.square(features).sum(1), SQUARES, rtol=1e-4)
    np.testing.assert_array_equal(features.argmax(1), LARGEST)
