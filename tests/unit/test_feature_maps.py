"""Features of pictures place by place, from networks of others and from small ones of our own."""

import sys
import types

import numpy as np
import pytest
import torch

from anycodec.config.evaluation import ClassicalSpec
from anycodec.config.features_run import ClassifierSpec, FeatureNetworkSpec, FeaturesSpec, VicregSpec
from anycodec.errors import MissingExtra, WeightsError
from anycodec.metrics.onnx_maps import PictureMaps, as_maps
from anycodec.torch.features.network import FeatureNetwork
from anycodec.torch.features.objectives import (
    Classification,
    FeatureModel,
    Vicreg,
    lacking_deviation,
    squared_covariances,
)
from anycodec.torch.features.pretrained import HubFeatures

CPU = torch.device("cpu")


class Counting:
    """A network whose features are the picture's mean and the red value of each quarter."""

    def __init__(self):
        self.looks = 0

    def prepare(self, picture):
        return picture

    def maps(self, prepared):
        self.looks += 1
        quarters = prepared[:, ::8, ::8, 0][:, None]
        return np.concatenate([np.full_like(quarters, prepared.mean()), quarters], axis=1)


def pictures(*values):
    return np.stack([np.full((1, 16, 16), value, np.float32) for value in values])


def test_windows_become_pictures_in_0_to_1():
    maps = PictureMaps(Counting())
    assert maps.width == 2
    found = maps(pictures(-1.0, 0.0, 1.0))
    assert found.shape == (3, 2, 2, 2)
    assert found.dtype == np.float32
    assert found[:, 0, 0, 0] == pytest.approx([0, 0.5, 1])


def test_a_window_is_looked_at_once():
    network = Counting()
    maps = PictureMaps(network)
    before = network.looks
    first = maps(pictures(0.1, 0.2, 0.1))
    assert network.looks == before + 2
    assert np.array_equal(maps(pictures(0.2, 0.1)), first[[1, 0]])
    assert network.looks == before + 2


def test_memory_is_bounded():
    network = Counting()
    maps = PictureMaps(network, most_bytes=20)  # a map of two channels and four places in float16 has 16
    before = network.looks
    for _ in range(3):
        maps(pictures(0.1, 0.2))
    assert network.looks == before + 1 + 3


def test_patches_of_a_picture_in_reading_order():
    """Two other tokens first, of the class and a register; then rows of patches."""
    tokens = np.arange(6.0)[None, :, None] * np.ones((2, 1, 3))
    found = as_maps(tokens.astype(np.float32), "x")
    assert found.shape == (2, 3, 2, 2)
    assert found[0, 0].tolist() == [[2, 3], [4, 5]]
    with pytest.raises(WeightsError, match="neither maps"):
        as_maps(np.zeros((2, 3), np.float32), "net.onnx")


# --- the hub ------------------------------------------------------------------------------------


class HubModel(torch.nn.Module):
    """One class token, then the means of 4 x 4 patches and their squares."""

    config = types.SimpleNamespace(image_size=16)

    def forward(self, pixel_values):
        means = pixel_values.mean(dim=1).reshape(-1, 4, 4, 4, 4).mean(dim=(2, 4)).flatten(1)
        tokens = torch.stack([means, means**2], dim=2)
        return types.SimpleNamespace(last_hidden_state=torch.cat([tokens[:, :1] + 9, tokens], dim=1))


class HubProcessor:
    image_mean = (0.5, 0.5, 0.5)
    image_std = (0.25, 0.25, 0.25)


def fake_hub(monkeypatch, name="some/model"):
    def loader(found):
        def from_pretrained(asked):
            if asked != name:
                raise OSError("not a local folder and not a model identifier\nlisted on the hub")
            return found

        return types.SimpleNamespace(from_pretrained=from_pretrained)

    library = types.ModuleType("transformers")
    library.AutoModel = loader(HubModel())
    library.AutoImageProcessor = loader(HubProcessor())
    monkeypatch.setitem(sys.modules, "transformers", library)


def test_a_model_of_the_hub(monkeypatch):
    fake_hub(monkeypatch)
    features = HubFeatures("some/model", CPU)
    assert features.width == 2
    found = features(pictures(-1.0, 0.0, 1.0))
    assert found.shape == (3, 2, 4, 4)
    # white is 1, less the mean .5, over .25
    assert found[:, 0, 2, 1] == pytest.approx([-2, 0, 2])
    assert found[:, 1, 2, 1] == pytest.approx([4, 0, 4])


def test_a_model_that_is_not_there(monkeypatch):
    fake_hub(monkeypatch)
    with pytest.raises(WeightsError, match="no vision model other/model: not a local folder"):
        HubFeatures("other/model", CPU)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match="transformers"):
        HubFeatures("some/model", CPU)


# --- our own ------------------------------------------------------------------------------------

SMALL = FeatureNetworkSpec(base_channels=4, channel_multipliers=(1, 2), norm_groups=2)


@pytest.mark.parametrize(
    ("shape", "grid", "summary"),
    [((2, 16, 24), (4, 6), 8 * 4), ((1, 14, 9), (4, 3), 8 * 4), ((3, 20), (5,), 8)],
)
def test_shapes(shape, grid, summary):
    network = FeatureNetwork(SMALL, shape)
    x = torch.randn(2, *shape)
    assert network(x).shape == (2, 8, *grid)
    assert network.summarised(x).shape == (2, summary)
    assert (network.width, network.summary) == (8, summary)


def test_summaries_forget_time_but_not_rows():
    network = FeatureNetwork(SMALL, (1, 8, 8)).eval()
    x = torch.randn(1, 1, 8, 8)
    assert torch.allclose(network.summarised(x), network(x).mean(dim=3).flatten(1))


def test_a_classifier_counts_windows_with_a_class_only():
    objective = Classification(ClassifierSpec(label_smoothing=0.0), 2, 2)
    with torch.no_grad():
        objective.classes.weight.copy_(torch.eye(2))
        objective.classes.bias.zero_()
    summaries = torch.tensor([[2.0, 0.0], [2.0, 0.0], [5.0, 0.0]])
    terms = objective([summaries], torch.tensor([0, 1, -1]))
    assert float(terms["accuracy"]) == 0.5
    right, wrong = np.log(1 + np.exp(-2.0)), np.log(1 + np.exp(2.0))
    assert float(terms["loss"].detach()) == pytest.approx((right + wrong) / 2, rel=1e-5)


def test_the_terms_of_vicreg():
    """Bardes et al. 2022, eq. 1 and 4, by hand."""
    z = torch.tensor([[1.0, 0.5], [-1.0, -0.5]])  # variances 2 and .5, covariance 1
    expected = (0 + 1 - np.sqrt(0.5 + 1e-4)) / 2
    assert float(lacking_deviation(z)) == pytest.approx(expected, rel=1e-5)
    assert float(squared_covariances(z)) == pytest.approx((1 + 1) / 2)


def test_vicreg_sums_its_terms():
    torch.manual_seed(0)
    objective = Vicreg(VicregSpec(width=4, invariance=2.0, variance=3.0, covariance=0.5), 6)
    views = [torch.randn(5, 6), torch.randn(5, 6)]
    terms = {name: float(term.detach()) for name, term in objective(views, torch.full((5,), -1)).items()}
    parts = 2 * terms["invariance"] + 3 * terms["variance"] + 0.5 * terms["covariance"]
    assert terms["loss"] == pytest.approx(parts, rel=1e-5)
    same = objective([views[0], views[0]], torch.full((5,), -1))
    assert float(same["invariance"].detach()) == 0


def test_a_classifier_is_judged_without_augmentation():
    torch.manual_seed(0)
    spec = FeaturesSpec(network=SMALL, augmentation=ClassicalSpec(noise=1.0))
    model = FeatureModel(spec, (1, 8, 8), 3)
    x, labels = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])

    def loss(seed):
        return float(model.terms(x, labels, torch.Generator().manual_seed(seed))["loss"].detach())

    assert loss(1) != loss(2)
    assert loss(1) == loss(1)
    model.eval()
    assert loss(1) == loss(2)
