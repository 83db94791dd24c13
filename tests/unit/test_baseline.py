from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from anycodec.metrics import kmeans as km
from anycodec.metrics.baseline import (
    PatchKMeans,
    cut_patches,
    equal_rate_patches,
    fit_at_rate,
    join_patches,
)
from anycodec.metrics.kmeans import kmeans, nearest


def markov(n: int, length: int, seed: int = 0, correlation: float = 0.95) -> np.ndarray:
    """Gauss-Markov windows [n 1 length] of unit variance."""
    from scipy.signal import lfilter

    noise = np.random.default_rng(seed).normal(size=(n, 1, length + 200))
    x = lfilter([np.sqrt(1 - correlation**2)], [1, -correlation], noise, axis=2)
    return x[..., 200:].astype(np.float32)


def mse(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean((x - y) ** 2))


@pytest.mark.parametrize(("codes", "distortion"), [(2, 0.3634), (4, 0.1175), (8, 0.03454)])
def test_gaussian_source_reaches_the_lloyd_max_distortion(codes, distortion):
    """Optimal scalar quantisers of N(0, 1), Max (1960), table I."""
    rng = np.random.default_rng(codes)
    fitted = PatchKMeans.fit(rng.normal(size=(64, 1, 1024)).astype("f4"), (1, 1), codes, seed=0)
    test = rng.normal(size=(256, 1, 1024)).astype("f4")
    assert mse(test, fitted.decode(fitted.encode(test))) == pytest.approx(distortion, rel=0.02)


def test_as_good_as_sklearn():
    rng = np.random.default_rng(0)
    centres = rng.normal(scale=3, size=(20, 6))
    samples = (centres[rng.integers(20, size=6000)] + rng.normal(size=(6000, 6))).astype("f4")
    ours = nearest(samples, kmeans(samples, 64, rng))[1].sum()
    theirs = KMeans(64, n_init=3, random_state=0).fit(samples).inertia_
    assert ours < 1.03 * theirs


def test_nearest_is_exact():
    rng = np.random.default_rng(1)
    samples, codes = rng.normal(size=(500, 7)).astype("f4"), rng.normal(size=(33, 7)).astype("f4")
    distance = cdist(samples, codes, "sqeuclidean")
    indices, squared = nearest(samples, codes)
    assert np.array_equal(indices, distance.argmin(axis=1))
    np.testing.assert_allclose(squared, distance.min(axis=1), atol=1e-4)


def test_codes_without_samples_are_moved_to_where_the_error_is():
    # 97 % of the samples are alike; random initialisation would waste nearly all codes on them
    rng = np.random.default_rng(2)
    rare = rng.uniform(-50, 50, size=(900, 2))
    samples = np.concatenate([np.zeros((30000, 2)), rare]).astype("f4")
    indices, _ = nearest(samples, kmeans(samples, 64, rng))
    assert len(np.unique(indices)) >= 60


def test_fewer_samples_than_codes_are_stored_as_they_are():
    samples = np.arange(12, dtype="f4").reshape(4, 3)
    codes = kmeans(samples, 8, np.random.default_rng(0))
    assert codes.shape == (8, 3)
    assert nearest(samples, codes)[1].max() == 0


def test_samples_that_the_codes_already_fit_are_not_iterated_on(monkeypatch):
    calls = []
    iterate = km._lloyd
    monkeypatch.setattr(km, "_lloyd", lambda *arguments: calls.append(1) or iterate(*arguments))
    samples = np.arange(4, dtype="f4")[:, None].repeat(500, axis=0)
    assert nearest(samples, kmeans(samples, 4, np.random.default_rng(0)))[1].max() == 0
    assert len(calls) <= 2 * len(km.STAGES)


def test_beats_uniform_scalar_quantisation_at_equal_rate():
    train, test = markov(64, 1024), markov(16, 1024, seed=1)
    fitted = PatchKMeans.fit(train, (1, 4), 256, seed=0)
    uniform = np.clip(np.floor(test), -2, 1) + 0.5  # 4 levels of step 1 = 2 bits/value, as 256 codes of 4
    assert fitted.nominal == 2.0
    assert mse(test, fitted.decode(fitted.encode(test))) < 0.5 * mse(test, uniform)


def test_same_seed_same_codes():
    windows = markov(8, 512)
    first, again = (PatchKMeans.fit(windows, (1, 4), 32, seed=5) for _ in range(2))
    assert np.array_equal(first.codes, again.codes)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 11)),
    patch=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)),
)
def test_cut_and_join_are_inverse(shape, patch):
    windows = np.arange(2 * np.prod(shape), dtype="f4").reshape(2, *shape)
    patches = cut_patches(windows, patch)
    grid = tuple(-(-s // p) for s, p in zip(shape, patch, strict=True))
    assert np.array_equal(join_patches(patches.reshape(2, *grid, -1), patch, shape), windows)


@pytest.mark.parametrize(
    ("shape", "rate"),
    [((1, 24000), 1.0), ((1, 512), 2.0), ((7, 512), 2.0), ((3, 128, 128), 0.047), ((1, 64, 64), 0.2)],
)
def test_candidates_have_the_wanted_fixed_rate(shape, rate):
    candidates = equal_rate_patches(shape, rate)
    assert candidates[0][1] > 250
    for patch, size in candidates:
        codec = PatchKMeans(window_shape=shape, patch_shape=patch, codes=np.zeros((size, np.prod(patch))))
        assert codec.nominal == pytest.approx(rate, rel=0.06)


def test_rates_out_of_reach_are_told_by_the_own_rate():
    assert equal_rate_patches((1, 512), 20.0) == [((1, 1), 6144)]
    assert equal_rate_patches((1, 512), 1e-5) == [((1, 512), 2)]


@pytest.mark.parametrize("rate", [0.5, 1.5])
def test_entropy_coded_rate_is_the_codecs(rate):
    train, test = markov(128, 512), markov(32, 512, seed=1)
    fitted = fit_at_rate(train, rate, seed=0, max_codes=256)
    assert fitted.entropy(fitted.encode(test)) == pytest.approx(rate, rel=0.04)


def test_description_names_patch_and_codes():
    codec = PatchKMeans(window_shape=(3, 64, 64), patch_shape=(3, 4, 5), codes=np.zeros((512, 60), "f4"))
    assert codec.describe() == "k-means VQ of raw patches, 4 x 5 pixels x 3 channels, 512 codes"


@pytest.mark.realdata
def test_ettm1_yardstick():
    """At least as good as one measured independently: 4-patches, 256 codes, RMSE .110 at 1.85 bits/value."""
    path = Path(__file__).parents[3] / "shared/data/series/ETTm1.csv"
    if not path.is_file():
        pytest.skip("ETTm1.csv is not in ../shared/data/series")
    table = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 8), dtype=np.float32)
    train, test = table[:34560], table[46080:57600]
    scaled = [((part - train.mean(0)) / train.std(0)).T.reshape(-1, 1, 640) for part in (train, test)]
    codec = PatchKMeans.fit(scaled[0], (1, 4), 256, seed=0)
    tokens = codec.encode(scaled[1])
    assert 1.7 < codec.entropy(tokens) < 1.86
    assert 0.100 < np.sqrt(mse(scaled[1], codec.decode(tokens))) < 0.111


def test_rate_is_met_on_the_evaluated_windows():
    train, test = markov(128, 512), markov(64, 512, seed=1) * 0.5
    fitted = fit_at_rate(train, 1.0, seed=0, evaluated=test, max_codes=512)
    assert fitted.entropy(fitted.encode(test)) == pytest.approx(1.0, rel=0.05)
