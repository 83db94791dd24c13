"""Figures of generated samples against analytic values and other implementations."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from anycodec.data.samples.gait import jet
from anycodec.metrics.area import area_resized
from anycodec.metrics.classification import LinearDiscriminant, accuracy, recall_by_class
from anycodec.metrics.colour import jet_colours, jet_levels, jet_misfit
from anycodec.metrics.distributions import distribution_distance
from anycodec.metrics.forecasting import LinearForecast
from anycodec.metrics.interval import t_interval
from anycodec.metrics.memorisation import memorisation
from anycodec.metrics.neighbours import kth_distances, nearest
from anycodec.metrics.prdc import prdc, sample_densities
from anycodec.metrics.principal import PrincipalComponents

RNG = np.random.default_rng(0)


def line(*places: float) -> np.ndarray:
    return np.array(places, float)[:, None]


def test_prdc_on_a_line_worked_out_by_hand():
    # k = 1; balls of the real ones: 0 +- 1, 1 +- 1, 3 +- 2; of the generated: .5 +- .1, .6 +- .1, 9 +- 8.4
    real, generated = line(0, 1, 3), line(0.5, 0.6, 9)
    found = prdc(real, generated, k=1)
    assert found.precision == pytest.approx(2 / 3)  # .5 and .6 lie in balls of 0 and 1, 9 in none
    assert found.recall == pytest.approx(2 / 3)  # 1 and 3 lie within 8.4 of 9; 0 in none
    assert found.density == pytest.approx(4 / 3)  # .5 and .6 in two balls each, of 3 generated, / k
    assert found.coverage == pytest.approx(2 / 3)  # the balls of 0 and 1 hold some, that of 3 none
    np.testing.assert_allclose(sample_densities(real, generated, k=1), [2, 2, 0])


def test_prdc_of_two_samples_of_one_distribution():
    # E[coverage] = 1 - (N-1) ... (N-k) / ((N+M-1) ... (N+M-k)); E[density] = 1 (Naeem et al., lemmas 1, 2)
    n, k = 400, 5
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    found = [prdc(*RNG.normal(size=(2, n, 4)), k=k) for _ in range(10)]
    assert np.mean([f.coverage for f in found]) == pytest.approx(expected, abs=0.01)
    assert np.mean([f.density for f in found]) == pytest.approx(1, abs=0.05)


def test_prdc_sees_a_lost_mode_in_recall_and_coverage_alone():
    real = np.concatenate([RNG.normal(size=(200, 2)), RNG.normal(20, 1, size=(200, 2))])
    found = prdc(real, RNG.normal(size=(300, 2)))
    assert found.precision > 0.9
    assert 0.45 < found.recall <= 0.5
    assert 0.4 < found.coverage <= 0.5


def test_prdc_of_sets_in_parts_is_that_of_the_whole(monkeypatch):
    sets = RNG.normal(size=(2, 50, 3))
    whole = prdc(*sets)
    monkeypatch.setattr("anycodec.metrics.neighbours._ROWS", 7)
    assert prdc(*sets) == whole


def test_neighbours_of_equal_vectors_are_none_away():
    x = np.array([[1e3, 1e3]] * 3 + [[0.0, 0.0]])
    assert kth_distances(x, 1)[:3].tolist() == [0, 0, 0]
    away, places = nearest(x[[3]] + 1, x)
    np.testing.assert_allclose(away, np.sqrt(2))
    assert places.tolist() == [3]


@pytest.mark.parametrize(
    ("real", "generated"), [(np.zeros((3, 2)), np.zeros((9, 2))), (np.zeros((9, 2)), np.zeros((9, 3)))]
)
def test_sets_that_have_no_prdc(real, generated):
    with pytest.raises(ValueError, match=r"neighbour|one width"):
        prdc(real, generated)


def test_memorisation_tells_copies_from_new_samples():
    training, held_out, new = RNG.normal(size=(3, 400, 3))
    fresh = memorisation(new, training, held_out)
    assert fresh.ratio == pytest.approx(1, abs=0.15)
    assert fresh.closer == pytest.approx(0.05, abs=0.05)
    copies = memorisation(training + 1e-3, training, held_out)
    assert copies.ratio < 0.02
    assert copies.closer > 0.95
    same = memorisation(training[:5], training, training)
    assert same.ratio == pytest.approx(1, abs=1e-3)


def test_interval_of_three_repetitions():
    # t(2) at .975 = 4.302653; deviation of 1, 2, 3 = 1
    found = t_interval([1, 2, 3])
    assert (found.mean, found.n) == (2, 3)
    assert found.half == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)
    assert found.low == pytest.approx(2 - found.half)
    assert np.isnan(t_interval([0.5]).half)


def test_accuracy_and_recall_by_class():
    predicted, labels = [0, 0, 1, 1, 1], [0, 1, 1, 1, 0]
    assert accuracy(predicted, labels) == pytest.approx(0.6)
    np.testing.assert_allclose(recall_by_class(predicted, labels, 3), [0.5, 2 / 3, np.nan])


@pytest.mark.parametrize(("n", "width"), [(60, 8), (30, 200)])
def test_linear_discriminant_is_that_of_scikit_learn(n, width):
    means = RNG.normal(size=(3, width))
    labels = np.tile(np.arange(3), n // 3)
    x = means[labels] + RNG.normal(size=(n, width)) * np.linspace(0.5, 2, width)
    centred = x - np.stack([x[labels == k].mean(axis=0) for k in range(3)])[labels]
    shrinkage = LedoitWolf(assume_centered=True).fit(centred).shrinkage_
    peer = LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=_Shrunk(shrinkage), priors=[1 / 3] * 3
    )
    peer.fit(x, labels)
    test = RNG.normal(size=(500, width)) * 2
    assert (LinearDiscriminant(x, labels, 3).predict(test) == peer.predict(test)).mean() > 0.995


class _Shrunk:
    """Covariance of a class shrunk with a given strength; what LDA averages over classes."""

    def __init__(self, shrinkage):
        self.shrinkage = shrinkage

    def get_params(self, deep=False):
        return {"shrinkage": self.shrinkage}

    def fit(self, x):
        found = np.cov(x, rowvar=False, bias=True)
        level = np.trace(found) / len(found)
        self.covariance_ = (1 - self.shrinkage) * found + self.shrinkage * level * np.eye(len(found))
        return self


def test_linear_discriminant_of_samples_without_spread_and_of_missing_classes():
    x, labels = line(0, 0, 1, 1), [0, 0, 1, 1]
    assert LinearDiscriminant(x, labels, 2).predict(line(-0.2, 0.9)).tolist() == [0, 1]
    with pytest.raises(ValueError, match="2 of 3 classes"):
        LinearDiscriminant(x, labels, 3)


def test_principal_components_find_the_plane_that_samples_lie_in():
    plane = RNG.normal(size=(2, 30))
    samples = RNG.normal(size=(100, 2)) @ plane + 5
    components = PrincipalComponents(samples)
    features = components(samples)
    assert features.shape == (100, 2)
    assert features.var(axis=0, ddof=1).mean() == pytest.approx(1)
    distances = np.linalg.norm(samples[:50] - samples[50:], axis=1)
    between = np.linalg.norm(features[:50] - features[50:], axis=1)
    np.testing.assert_allclose(between / between[0], distances / distances[0])
    with pytest.raises(ValueError, match="all the same"):
        PrincipalComponents(np.ones((4, 3)))


def test_distances_of_shifted_distributions():
    x = RNG.normal(size=4000)
    found = distribution_distance(x, np.append(x + 0.5, np.nan))
    assert found is not None
    assert found.wasserstein == pytest.approx(0.5)
    assert found.kolmogorov == pytest.approx(norm.cdf(0.25) - norm.cdf(-0.25), abs=0.03)
    assert found.n == (4000, 4000)
    assert distribution_distance([np.nan], x) is None


def test_levels_of_jet_pictures_come_back():
    levels = RNG.uniform(size=(50, 7))
    pixels = jet(levels)
    np.testing.assert_allclose(jet_levels(pixels), levels, atol=1 / 64)
    assert jet_misfit(pixels) < 0.03
    assert jet_misfit(np.full((4, 4, 3), 128, np.uint8)) > 0.3  # grey is no jet colour
    np.testing.assert_allclose(jet_colours()[[0, -1]], [[0, 0, 0.5], [0.5, 0, 0]])


def test_areas_keep_the_mean_and_whole_blocks():
    picture = RNG.uniform(size=(3, 12, 20))
    assert area_resized(picture, (5, 7)).mean(axis=(1, 2)) == pytest.approx(picture.mean(axis=(1, 2)))
    blocks = picture.reshape(3, 4, 3, 5, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(area_resized(picture, (4, 5)), blocks, rtol=1e-5)
    np.testing.assert_allclose(area_resized(np.eye(2), (4, 4)), np.eye(2).repeat(2, 0).repeat(2, 1))


def test_linear_forecast_of_a_linear_recurrence():
    # sin(w(t + 1)) = 2 cos(w) sin(wt) - sin(w(t - 1)): exact for any phase
    phases = RNG.uniform(0, 2 * np.pi, size=(200, 1, 1))
    waves = np.sin(0.3 * np.arange(24) + phases)
    model = LinearForecast(waves[:100], 4)
    assert model.error(waves[100:]) < 0.02
    assert LinearForecast(RNG.normal(size=(300, 1, 24)), 4).error(waves) > 0.3
    with pytest.raises(ValueError, match="horizon"):
        LinearForecast(waves, 24)
