"""The squiggle model against figures from outside: ONT's chemistry and public R10.4.1 recordings."""

from uuid import UUID

import numpy as np
import pytest

from anycodec.data.samples import nanopore
from anycodec.io import formats


@pytest.fixture(scope="module")
def reads():
    return [read for file in nanopore.files(0, "small") for read in file.reads]


def picoamperes(read):
    return (read.adc.astype(float) + read.offset) * read.scale


def test_same_seed_same_reads_other_seed_other_reads():
    one, again, other = (next(nanopore.files(seed, "small")) for seed in (3, 3, 4))
    assert one.run == again.run
    for a, b in zip(one.reads, again.reads, strict=True):
        assert (a.id, a.start, a.offset) == (b.id, b.start, b.offset)
        np.testing.assert_array_equal(a.adc, b.adc)
    assert {read.id for read in one.reads}.isdisjoint(read.id for read in other.reads)
    assert one.run["acquisition_id"] != other.run["acquisition_id"]


def test_the_pore_is_the_same_for_all_seeds_and_has_the_levels_of_r1041():
    model = nanopore.pore_model()
    assert model.level.shape == model.dwell.shape == (4**9,)
    assert np.median(model.level) == pytest.approx(104, abs=0.5)
    low, high = np.quantile(model.level, [0.05, 0.95])
    assert (low, high) == pytest.approx((62, 132), abs=0.5)
    assert model.dwell.mean() == pytest.approx(1)


def test_central_bases_weigh_most():
    level = nanopore.pore_model().level.reshape((4,) * 9)
    spread = [level.std(axis=place).mean() for place in range(9)]
    assert np.argmax(spread) in (3, 4, 5)
    assert spread[0] < spread[4] / 5
    assert spread[8] < spread[4] / 5


def test_kmer_index_counts_in_base_4_around_each_base():
    bases = np.array([0, 0, 0, 0, 1, 2, 3, 0, 0, 0])
    codes = nanopore.kmers(bases)
    assert len(codes) == len(bases)
    assert codes[4] == int("000012300", 4)
    assert codes[5] == int("000123000", 4)


def test_400_bases_a_second_at_5_khz_is_12_5_samples_a_base(reads):
    samples = sum(len(read.adc) - read.first_base for read in reads)
    assert samples / sum(read.bases for read in reads) == pytest.approx(12.5, rel=0.03)


def test_dwell_times_vary_around_that_mean():
    rng = np.random.default_rng(0)
    dwell = nanopore.dwell_times(rng.integers(0, 4**9, 200_000), 1.0, rng)
    assert dwell.mean() == pytest.approx(12.5, rel=0.01)
    assert dwell.std() / dwell.mean() > 0.7  # a gamma of shape 1.6 alone has 0.79


def test_sampling_averages_the_staircase_over_each_sample():
    current = nanopore.sampled(np.array([100.0, 60.0, 80.0]), np.array([1.5, 1.0, 1.5]))
    np.testing.assert_allclose(current, [100, 80, 70, 80])


def test_flicker_noise_falls_by_ten_decibels_a_decade():
    noise = nanopore.flicker(2**18, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(noise)) ** 2
    decade = [power[k : 2 * k].mean() for k in (100, 1000, 10_000)]
    assert 10 * np.log10(np.array(decade[:-1]) / decade[1:]) == pytest.approx([10, 10], abs=0.6)
    assert noise.std() == pytest.approx(1)


def test_sixty_reads_of_plausible_length_and_fields(reads):
    assert len(reads) == 60
    assert len({read.id for read in reads}) == 60
    assert all(UUID(read.id).version == 4 for read in reads)
    assert all(6_000 < len(read.adc) < 75_000 for read in reads)
    assert {read.end_reason for read in reads} <= {"signal_positive", "unblock_mux_change", "mux_change"}
    assert all(read.forced == (read.end_reason != "signal_positive") for read in reads)


def test_reads_differ_in_gain_and_baseline(reads):
    middles = [np.median(picoamperes(read)) for read in reads]
    assert 2 < np.std(middles) < 8
    assert 85 < np.mean(middles) < 110


def test_statistics_of_normalised_samples(reads):
    """24 to 32 % of real samples lie outside +-1 after median/MAD; almost none beyond 4."""
    values = np.concatenate([normalised(picoamperes(read)[read.first_base :]) for read in reads])
    assert 0.15 < np.mean(np.abs(values) > 1) < 0.35
    assert np.mean(np.abs(values) > 4) < 0.005


@pytest.mark.realdata
def test_like_real_r1041_reads(reads, real_data):
    path = real_data / "nanopore" / "r1041_5khz_p2solo_slow5tools.pod5"
    with formats.open_file(path, formats.default_source("pod5")) as file:
        real = file.fetch(0, 100_000, 500_000).values[:, 0]
    made = np.concatenate([picoamperes(read)[read.first_base :] for read in reads])[:400_000]
    assert step_entropy(made) == pytest.approx(step_entropy(real), abs=0.4)
    for lag, tolerance in ((1, 0.03), (4, 0.08), (16, 0.12)):
        assert correlation(made, lag) == pytest.approx(correlation(real, lag), abs=tolerance)
    quantiles = [0.05, 0.25, 0.5, 0.75, 0.95]
    distance = np.quantile(normalised(made), quantiles) - np.quantile(normalised(real), quantiles)
    assert np.abs(distance).max() < 0.3


def normalised(values):
    centred = values - np.median(values)
    return centred / (1.4826 * np.median(np.abs(centred)))


def step_entropy(current):
    """Bits of the differences between samples, in counts of the converter."""
    steps = np.rint(np.diff(current) / nanopore.SCALE).astype(int)
    share = np.unique(steps, return_counts=True)[1] / len(steps)
    return -np.sum(share * np.log2(share))


def correlation(values, lag):
    return np.corrcoef(values[:-lag], values[lag:])[0, 1]
