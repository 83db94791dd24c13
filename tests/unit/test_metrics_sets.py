"""FID and KID against analytic values; the networks that give their features."""

import sys

import numpy as np
import pytest
from scipy.linalg import sqrtm

from anycodec.errors import DataError, MissingExtra, Notice, WeightsError
from anycodec.metrics import onnx
from anycodec.metrics.efficientnet import EfficientNetLite0
from anycodec.metrics.features import FeatureDistances, FeatureSet
from anycodec.metrics.frechet import frechet_distance, gaussian_frechet
from anycodec.metrics.kernel import kernel_distance, squared_mmd
from anycodec.metrics.onnx_maps import FileMaps, PictureMaps
from anycodec.metrics.perceptual import PerceptualMetric

RNG = np.random.default_rng(0)


def exactly(mean, covariance, n=64) -> np.ndarray:
    """Vectors [n D] with exactly that mean and unbiased covariance."""
    x = RNG.normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_gaussians_along_the_axes():
    # for diagonal covariances: |m1 - m2|^2 + sum (s1 - s2)^2
    a = exactly(np.array([0.0, 1.0, 2.0]), np.diag([1.0, 4.0, 9.0]))
    b = exactly(np.array([3.0, 1.0, 0.0]), np.diag([4.0, 4.0, 1.0]), n=40)
    assert frechet_distance(a, b) == pytest.approx((9 + 0 + 4) + (1 + 0 + 4))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_any_gaussians_and_singular_ones():
    roots = RNG.normal(size=(2, 5, 5))
    one, other = (root @ root.T for root in roots)
    zero = np.zeros(5)
    expected = np.trace(one + other - 2 * sqrtm(one @ other).real)
    assert gaussian_frechet(zero, one, zero, other) == pytest.approx(expected)
    flat = np.diag([1.0, 0, 0, 0, 0])  # against itself turned by a right angle: no overlap, 1 + 1
    assert gaussian_frechet(zero, flat, zero, np.diag([0, 1.0, 0, 0, 0])) == pytest.approx(2)


def test_mmd_of_a_small_case():
    # D 1: k(1, 1) = 8, k(0, anything) = 1, so E k(x, x') = 1, E k(y, y') = 8, E k(x, y) = 1
    x, y = np.zeros((3, 1)), np.ones((2, 1))
    assert squared_mmd(x, y) == pytest.approx(1 + 8 - 2)
    assert kernel_distance(x, y).mean == pytest.approx(7)


def test_kid_is_unbiased_at_any_size():
    found = [squared_mmd(*RNG.normal(size=(2, n, 4))) for n in (5,) * 400]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3.5 * error
    assert min(found) < 0


def test_kid_of_subsets_agrees_with_the_whole():
    x, y = RNG.normal(size=(600, 4)), RNG.normal(0.5, 1, size=(500, 4))
    whole, drawn = squared_mmd(x, y), kernel_distance(x, y, subsets=50, subset_size=200)
    assert drawn.deviation > 0
    assert drawn.mean == pytest.approx(whole, abs=3 * drawn.deviation / np.sqrt(50))


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
@pytest.mark.parametrize("shape", [(1, 3), (5, 4)])
def test_sets_that_cannot_be_compared(distance, shape):
    with pytest.raises(ValueError, match="at least two vectors of one width"):
        distance(np.zeros((5, 3)), np.zeros(shape))


class MeanColour:
    name, batch = "mean colour", 4

    def prepare(self, picture):
        return picture

    def __call__(self, prepared):
        assert len(prepared) <= self.batch
        return prepared.mean(axis=(1, 2))


def test_pictures_are_scaled_and_grey_becomes_rgb():
    found = FeatureSet(MeanColour())
    found.add(np.full((4, 6, 3), 51, np.uint8), (0, 255))
    found.add(np.full((4, 6, 1), 13107, np.uint16), (0, 65535))
    assert found.vectors() == pytest.approx(np.full((2, 3), 0.2))


def test_a_long_set_is_thinned_evenly():
    found = FeatureSet(MeanColour(), most=10)
    for i in range(100):
        found.add(np.full((2, 2, 1), i, np.uint8), (0, 100))
    seen = found.vectors()[:, 0] * 100
    assert 5 <= len(seen) <= 10
    assert np.diff(seen) == pytest.approx(np.full(len(seen) - 1, seen[1]))
    assert seen[1] in (16, 8)


def test_distances_of_frames():
    original = RNG.integers(0, 200, (6, 8, 8, 3)).astype(np.uint8)
    first = FeatureDistances(MeanColour())
    first.update(original[:4], original[:4] + 51, (0, 255))
    first.update(original[4:], original[4:] + 51, (0, 255))
    assert first.scores()["fid"] == pytest.approx(3 * 0.2**2, rel=1e-4)
    assert first.scores()["feature_pictures"] == 6
    second = FeatureDistances(MeanColour(), first.originals)
    second.update(original, original, (0, 255))
    assert second.scores()["fid"] == pytest.approx(0, abs=1e-6)


def test_few_pictures_for_many_features_are_warned_of():
    distances = FeatureDistances(MeanColour())
    pictures = RNG.integers(0, 256, (3, 4, 4, 3)).astype(np.uint8)
    distances.update(pictures, pictures, (0, 255))
    with pytest.warns(Notice, match="FID of 3 pictures in 3 features"):
        distances.scores()


def test_one_picture_is_no_set():
    distances = FeatureDistances(MeanColour())
    distances.update(np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3), np.uint8), (0, 255))
    with pytest.raises(DataError, match="there is only one"):
        distances.scores()


def test_lpips_is_the_mean_over_frames_in_the_range_of_the_type():
    def distance(picture, reference):
        return float(np.abs(picture - reference).mean())

    metric = PerceptualMetric("alex", distance)
    original = RNG.integers(0, 200, (3, 40, 50, 1)).astype(np.uint8)
    metric.update(original[:1], original[:1] + 51, (0, 255))
    metric.update(original[1:], original[1:], (0, 255))
    assert metric.scores() == {"lpips_alex": pytest.approx(0.2 / 3)}
    beside = metric.beside()
    beside.update(original, original, (0, 255))
    assert beside.scores() == {"lpips_alex": 0}
    small = original[:, :20, :20]
    with pytest.raises(DataError, match="at least 31 pixels a side, this one has 20") as error:
        metric.update(small, small, (0, 255))
    assert "--lpips vgg" in error.value.how


def test_resizing_leaves_out_what_the_small_picture_cannot_show():
    stripes = np.zeros((64, 64, 3), np.float32)
    stripes[:, ::2] = 1
    assert onnx.resized(stripes, (16, 16))[4:-4, 4:-4] == pytest.approx(0.5, abs=0.02)


def test_networks_that_are_not_there(monkeypatch, tmp_path):
    with pytest.raises(WeightsError, match="no feature network inception"):
        onnx.open_network("inception")
    monkeypatch.setenv("ANYCODEC_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="dinov2 are not on this machine") as error:
        onnx.open_network("dinov2")
    assert "anycodec weights get dinov2" in error.value.how
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "dinov2.onnx").write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="damaged"):
        onnx.open_network("dinov2")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "mine.onnx").write_bytes(b"")
    with pytest.raises(MissingExtra, match=r"anycodec\[features\]"):
        onnx.open_network(str(tmp_path / "mine.onnx"))


def test_a_file_that_is_no_network(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    (tmp_path / "mine.onnx").write_bytes(b"not a network")
    with pytest.raises(WeightsError, match="onnxruntime can't use this file"):
        onnx.open_network(str(tmp_path / "mine.onnx"))


GLOBAL_MEAN = bytes.fromhex(
    "08073a5a0a190a01781201792211476c6f62616c41766572616765506f6f6c1201675a1c0a017812170a150801"
    "12110a0312016e0a0208030a0208080a020808621c0a017912170a15080112110a0312016e0a0208030a020801"
    "0a02080142040a00100e"
)
"""ONNX: GlobalAveragePool of float32 [n 3 8 8] -> [n 3 1 1]."""


def test_a_network_of_the_users_own(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    (tmp_path / "mean.onnx").write_bytes(GLOBAL_MEAN)
    network = onnx.open_network(str(tmp_path / "mean.onnx"))
    assert network.name == "mean"
    pictures = RNG.random((3, 8, 8, 3)).astype(np.float32)
    prepared = np.stack([network.prepare(picture) for picture in pictures])
    assert network(prepared) == pytest.approx(pictures.mean(axis=(1, 2)), abs=1e-6)


def test_efficientnet_gets_pictures_as_it_was_trained():
    seen = []
    network = EfficientNetLite0(lambda pictures: seen.append(pictures) or pictures.mean(axis=(2, 3)))
    prepared = network.prepare(np.full((60, 40, 3), 1.0, np.float32))
    assert prepared.shape == (3, 224, 224)
    assert network(prepared[None])[0] == pytest.approx(np.full(3, 1.0))  # (255 - 127) / 128
    assert network.prepare(np.zeros((224, 224, 3), np.float32))[0, 0, 0] == pytest.approx(-127 / 128)


def test_dinov2_tells_pictures_apart():
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    try:
        network = onnx.open_network("dinov2")
    except WeightsError as error:
        pytest.skip(error.what)
    x, y = np.indices((96, 128)) / 128
    ramp = np.stack([x, y, x], axis=2).astype(np.float32)
    noise = RNG.random((96, 128, 3)).astype(np.float32)
    prepared = np.stack([network.prepare(p) for p in (ramp, ramp + 0.01, noise)])
    vectors = network(prepared)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert vectors.shape == (3, 384)
    assert unit[0] @ unit[1] > 0.95 > unit[0] @ unit[2]


def test_a_network_of_the_users_own_place_by_place(tmp_path):
    """The network for a mean keeps one place; windows are in [-1, 1], its pictures in [0, 1]."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    (tmp_path / "mean.onnx").write_bytes(GLOBAL_MEAN)
    maps = PictureMaps(FileMaps(tmp_path / "mean.onnx"))
    windows = RNG.uniform(-1, 1, (2, 3, 8, 8)).astype(np.float32)
    expected = (windows.mean(axis=(2, 3), keepdims=True) + 1) / 2
    assert maps(windows) == pytest.approx(expected, abs=1e-3)  # float16
