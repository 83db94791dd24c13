import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import median_abs_deviation

from anycodec.config.data import (
    ArraySource,
    FixedSpec,
    MedianMadSpec,
    PrincipalSpec,
    RevinSpec,
    StandardSpec,
    Window1d,
)
from anycodec.data.normalize import Normalizer, Segment, channel_of, make_normalizer
from anycodec.data.window import Windower
from anycodec.errors import DataError
from anycodec.types import Affine, SignalInfo


def segment(values, windows=None, mask=None, value_range=None) -> Segment:
    values = np.asarray(values, np.float32)
    info = SignalInfo(id="", axes="TC", shape=values.shape, dtype="float32", value_range=value_range)
    return Segment(info, values, values.T[None] if windows is None else windows, mask)


def test_median_mad_of_known_values():
    affine = make_normalizer(MedianMadSpec()).statistics(segment([[1], [2], [3], [4], [100]]))
    assert affine.shift.tolist() == [[3]]
    assert affine.scale[0, 0] == pytest.approx(1.4826)


def test_median_mad_agrees_with_scipy_a_channel():
    values = np.random.default_rng(1).gamma(2, 30, (999, 3)).astype(np.float32)
    affine = make_normalizer(MedianMadSpec()).statistics(segment(values))
    assert affine.shift.shape == affine.scale.shape == (1, 3)
    np.testing.assert_allclose(affine.shift[0], np.median(values, axis=0))
    np.testing.assert_allclose(
        affine.scale[0], median_abs_deviation(values, axis=0, scale="normal"), rtol=1e-4
    )


def test_median_mad_ignores_what_was_missing():
    mask = np.array([[True], [True], [True], [False]])
    affine = make_normalizer(MedianMadSpec()).statistics(segment([[1], [2], [3], [1000]], mask=mask))
    assert affine.shift.tolist() == [[2]]


@pytest.mark.parametrize("mask", [None, np.zeros((5, 1), bool)], ids=["constant", "all missing"])
@pytest.mark.parametrize("value", [0.0, -7.5, 1e30])
def test_a_constant_signal_has_scale_one(value, mask):
    affine = make_normalizer(MedianMadSpec()).statistics(segment(np.full((5, 1), value), mask=mask))
    assert affine.scale.tolist() == [[1]]
    assert affine.shift.tolist() == [[np.float32(value) if mask is None else 0]]


def test_a_saturated_signal_falls_back_to_its_deviation():
    values = np.full((100, 1), 50.0)
    values[:10] = 40
    affine = make_normalizer(MedianMadSpec()).statistics(segment(values))
    assert affine.scale[0, 0] == pytest.approx(3.0)  # sqrt(.1 * .9) * 10


def test_a_nearly_constant_signal_with_an_outlier_stays_finite():
    values = np.full((100, 1), 1e-36)
    values[:40], values[0] = 0, 1e4
    normalizer = make_normalizer(MedianMadSpec())
    part = segment(values)
    assert np.isfinite(normalizer.apply(part.windows, normalizer.statistics(part))).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("spec", [MedianMadSpec(), RevinSpec()])
def test_the_largest_floats_have_statistics(spec):
    most = np.finfo(np.float32).max
    part = segment(np.array([[most], [-most], [-most], [most], [most]]))
    normalizer = make_normalizer(spec)
    affine = normalizer.statistics(part)
    assert np.isfinite(affine.shift).all()
    assert np.isfinite(affine.scale).all()
    assert not np.isnan(normalizer.invert(normalizer.apply(part.windows, affine), affine)).any()


def test_revin_is_mean_and_biased_deviation_of_each_window():
    windows = np.array([[[1, 3], [5, 5]], [[0, 10], [2, 4]]], np.float32)
    affine = make_normalizer(RevinSpec()).statistics(segment(np.zeros((4, 2)), windows))
    assert affine.shift.tolist() == [[2, 5], [5, 3]]
    expected = np.sqrt(np.array([[1, 0], [25, 1]]) + 1e-5)
    np.testing.assert_allclose(affine.scale, expected, rtol=1e-6)


def test_fixed_maps_bytes_to_minus_one_and_one():
    windows = np.array([[[0, 127.5, 255]]], np.float32)
    normalizer = make_normalizer(FixedSpec())
    affine = normalizer.statistics(segment(np.zeros((3, 1)), windows, value_range=(0, 255)))
    assert normalizer.apply(windows, affine).tolist() == [[[-1, 0, 1]]]


def test_fixed_prefers_the_given_range():
    affine = make_normalizer(FixedSpec(low=-2, high=4)).statistics(
        segment(np.zeros((3, 1)), value_range=(0, 255))
    )
    assert (affine.shift.item(), affine.scale.item()) == (1, 3)


def test_fixed_without_a_range_says_what_to_do():
    with pytest.raises(DataError) as caught:
        make_normalizer(FixedSpec()).statistics(segment(np.zeros((3, 1))))
    assert "data.normalizer.low" in str(caught.value.how)


def test_standard_pools_all_segments_in_bounded_pieces():
    random = np.random.default_rng(2)
    whole = random.normal([1e6, -3], [0.5, 20], (5000, 2)).astype(np.float32)
    mask = random.random(whole.shape) > 0.2
    cuts = np.split(np.arange(5000), [1, 700, 701, 3000])
    normalizer = make_normalizer(StandardSpec()).fit((whole[i], mask[i]) for i in cuts)
    affine = normalizer.statistics(segment(whole))
    exact = [whole[mask[:, c], c].astype(np.float64) for c in range(2)]
    np.testing.assert_array_equal(affine.shift[0], np.float32([x.mean() for x in exact]))
    np.testing.assert_allclose(affine.scale[0], [x.std() for x in exact], rtol=1e-6)


def test_standard_survives_the_run_directory():
    fitted = make_normalizer(StandardSpec()).fit([(np.float32([[1, 5], [3, 5]]), None)])
    arrays_ = fitted.to_arrays()
    assert set(arrays_) == {"normalizer.shift", "normalizer.scale"}
    restored = make_normalizer(StandardSpec(), arrays_).statistics(segment([[0, 0]]))
    assert restored.shift.tolist() == [[2, 5]]
    assert restored.scale.tolist() == [[1, 1]]


def test_standard_refuses_other_columns():
    fitted = make_normalizer(StandardSpec()).fit([(np.zeros((4, 2), np.float32), None)])
    with pytest.raises(DataError, match=r"3 channels.*trained on 2"):
        fitted.statistics(segment(np.zeros((4, 3))))


def moving_together(n=4000):
    """Three channels of different units: the first two do the same but for a tenth, the third is its own."""
    random = np.random.default_rng(7)
    common, single, own = random.normal(size=(3, n)).cumsum(axis=1)
    return np.stack(
        [1e4 + 50 * (common + 0.1 * single), common - 0.1 * single, 3 * own], axis=1, dtype=np.float32
    )


def test_principal_axes_leave_nothing_in_common_and_keep_distances():
    values = moving_together()
    normalizer = make_normalizer(PrincipalSpec()).fit([(values, None)])
    mixed = normalizer.mix(values)
    steps = np.diff(mixed.astype(np.float64), axis=0)
    assert np.abs(np.corrcoef(steps.T) - np.eye(3)).max() < 1e-3
    assert (np.diff(steps.std(axis=0)) < 0).all()
    scored = (values - values.mean(axis=0)) / values.std(axis=0)
    np.testing.assert_allclose(np.square(mixed).sum(axis=1), np.square(scored).sum(axis=1), rtol=1e-3)
    np.testing.assert_allclose(normalizer.unmix(mixed), values, rtol=1e-6, atol=1e-3)
    affine = normalizer.statistics(segment(mixed))
    assert np.array_equal(normalizer.apply(mixed.T[None], affine), mixed.T[None])


def test_principal_axes_do_not_see_what_was_missing():
    values, mask = moving_together(), np.ones((4000, 3), bool)
    gaps = values.copy()
    mask[100:200, 0], gaps[100:200, 0] = False, 1e9
    exact, found = (
        make_normalizer(PrincipalSpec()).fit([pair]).to_arrays()["normalizer.axes"]
        for pair in ((values, None), (gaps, mask))
    )
    assert np.abs(np.abs(exact.T @ found) - np.eye(3)).max() < 0.05


def test_principal_survives_the_run_directory():
    values = moving_together(50)
    fitted = make_normalizer(PrincipalSpec()).fit([(values[:20], None), (values[20:], None)])
    restored = make_normalizer(PrincipalSpec(), fitted.to_arrays())
    assert np.array_equal(restored.mix(values), fitted.mix(values))
    for use in (restored.mix, lambda x: restored.statistics(segment(x))):
        with pytest.raises(DataError, match=r"2 channels.*trained on 3"):
            use(values[:, :2])


@pytest.mark.parametrize("value", [0.0, 1e30])
def test_principal_of_constant_channels_stays_finite(value):
    values = np.full((9, 2), value, np.float32)
    normalizer = make_normalizer(PrincipalSpec()).fit([(values, None)])
    assert np.array_equal(normalizer.unmix(normalizer.mix(values)), values)


@pytest.mark.parametrize("spec", [MedianMadSpec(), RevinSpec(), FixedSpec()])
def test_only_dataset_statistics_are_stored(spec):
    assert make_normalizer(spec).to_arrays() == {}


def test_statistics_meet_their_own_channel():
    """Independent channels: each window is normalised by the statistics of its channel."""
    values = np.array([[0, 100], [2, 104], [4, 108], [6, 112]], np.float32)
    windows = Windower(ArraySource(window=Window1d(samples=2), channels="independent")).cut(values)
    normalizer = make_normalizer(MedianMadSpec())
    affine = Affine(np.float32([[0, 100]]), np.float32([[2, 4]]))
    expected = [[[0, 1]], [[0, 1]], [[2, 3]], [[2, 3]]]
    assert normalizer.apply(windows, affine).tolist() == expected
    assert np.array_equal(normalizer.invert(normalizer.apply(windows, affine), affine), windows)
    assert normalizer.apply(windows[1::2], channel_of(affine, 1)).tolist() == expected[1::2]


def normalizers() -> list[Normalizer]:
    random = np.random.default_rng(0).normal(3, 9, (50, 2)).astype(np.float32)
    standard = make_normalizer(StandardSpec()).fit([(random, None)])
    return [make_normalizer(MedianMadSpec()), make_normalizer(RevinSpec()), standard,
            make_normalizer(FixedSpec(low=-10, high=300))]  # fmt: skip


@pytest.mark.parametrize("normalizer", normalizers(), ids=lambda n: type(n).__name__)
@given(
    values=arrays(np.float32, (24, 2), elements=st.floats(-1e4, 1e4, width=32)),
    offset=st.sampled_from([0.0, -500.0, 1e6]),
)
def test_invert_undoes_apply(normalizer, values, offset):
    values = values + np.float32(offset)
    windows = np.ascontiguousarray(values.reshape(4, 6, 2).transpose(0, 2, 1))
    affine = normalizer.statistics(segment(values, windows))
    assert (affine.scale > 0).all()
    assert np.isfinite(affine.shift).all()
    normalised = normalizer.apply(windows, affine)
    assert normalised.dtype == np.float32
    assert np.isfinite(normalised).all()
    largest = max(np.abs(values).max(), np.abs(affine.shift).max())
    assert np.abs(normalizer.invert(normalised, affine) - windows).max() <= 4e-7 * largest


def test_a_large_offset_keeps_the_noise():
    """1e6 plus noise of one unit: the statistics see the noise, not rounding."""
    noise = np.random.default_rng(3).normal(0, 4, (4096, 1))
    values = np.float32(1e6 + noise)
    exact = values.astype(np.float64)
    for spec, expected in ((RevinSpec(), exact.std()), (MedianMadSpec(), 4)):
        affine = make_normalizer(spec).statistics(segment(values))
        assert affine.scale.item() == pytest.approx(expected, rel=0.05)
        assert affine.shift.item() == pytest.approx(1e6, abs=0.5)
