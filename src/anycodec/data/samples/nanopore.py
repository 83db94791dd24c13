"""Simulated nanopore current: DNA walks through a pore and each 9-mer sets a level.

    sequence -> level and dwell of each base -> current, averaged over each sample -> + noise -> ADC

The pore model is made up, and smooth: bases near the centre of the 9-mer weigh most. Its levels have
the distribution of R10.4.1 recordings (two modes, 49 to 154 pA), 400 bases/s at 5 kHz.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import fft

SAMPLE_RATE = 5000
"""Hz."""
SPEED = 400
"""Bases a second, on average over all reads."""
MEAN_DWELL = SAMPLE_RATE / SPEED
"""Samples a base."""
K = 9
"""Bases in the pore that shape its current."""
SCALE = 0.1870698481798172
"""pA a count of the converter: that of a PromethION at 5 kHz."""
ADC_RANGE = (0, 2047)

_QUANTILES = (0.0, 0.001, 0.05, 0.15, 0.25, 0.35, 0.5, 0.75, 0.95, 0.99, 1.0)
_LEVELS = (49.0, 54.0, 62.0, 69.5, 75.5, 88.5, 104.0, 118.0, 132.0, 142.0, 154.0)
"""Levels in pA at these quantiles of all 9-mers, read off public R10.4.1 recordings."""

_DWELL_SHAPE = 1.6
"""Shape of the gamma distribution of dwell times; its mean is set by the 9-mer and the read."""
_WHITE_NOISE = 1.9
"""Deviation of each sample, pA."""
_FLICKER_NOISE = 1.2
"""Deviation of the 1/f noise, pA."""
_GAIN_SPREAD, _BASELINE_SPREAD = 0.03, 3.0
"""Deviations between reads: of a factor on the levels, and of a shift in pA."""
_OPEN_PORE = 205.0
_STALL_LEVEL = 72.0
"""Levels in pA of the empty pore, and of the adapter while the motor holds it still."""
_ADAPTER = "CCTGTACTTCGTTCAGTTACGTATTGCT"
"""The end of ONT's ligation adapter that enters the pore first, as printed in its protocols."""

_SPIKE_EVERY, _SPIKE = 4000, 22.0
"""Samples between spikes, and their deviation in pA."""
_GAP_EVERY = 6000
"""Bases between short blocks of the pore (30 pA) and losses of the strand (the open pore)."""

_END_REASONS = ("signal_positive", "unblock_mux_change", "mux_change")
_END_SHARES = (0.9, 0.07, 0.03)


@dataclass(frozen=True, slots=True)
class Read:
    """One read as a sequencer stores it.

    Attributes:
        id: UUID.
        adc: int16 [T]; pA = (adc + offset) * scale.
        start: sample of the run at which the read begins.
        median_before: median current before the read (the open pore), pA.
        forced: whether the end was commanded, not seen in the signal.
        first_base: sample at which the first base after the adapter enters.
        bases: number of bases after the adapter.
    """

    id: str
    adc: NDArray[np.int16]
    offset: float
    scale: float
    channel: int
    well: int
    number: int
    start: int
    median_before: float
    end_reason: str
    forced: bool
    first_base: int
    bases: int


@dataclass(frozen=True, slots=True)
class ReadFile:
    """The reads of one file and the run they belong to.

    Attributes:
        path: where the file goes, relative to the sample folder.
        run: fields of the run info table; times in milliseconds since 1970 UTC.
    """

    path: str
    run: dict[str, Any]
    reads: tuple[Read, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to simulate.

    Attributes:
        runs: flow cells, a folder each.
        files: files a run.
        reads: reads a file.
        longest: upper limit of the samples a read spends on its bases; the lower one is 8,000.
    """

    runs: int
    files: int
    reads: int
    longest: int


PLANS = {"small": Plan(2, 2, 15, 60_000), "full": Plan(2, 4, 50, 120_000)}


@dataclass(frozen=True, slots=True)
class PoreModel:
    """Level in pA and relative dwell (mean 1) of each of the 4^9 9-mers, A C G T = 0 1 2 3, first base
    most significant.
    """

    level: NDArray[np.float64]
    dwell: NDArray[np.float64]


@cache
def pore_model() -> PoreModel:
    """The same made-up pore for every seed."""
    rng = np.random.default_rng(9)
    weights = np.exp(-0.5 * ((np.arange(K) - K // 2) / 1.4) ** 2)
    scores = _context_sum(weights, rng)
    ranks = np.empty(scores.size)
    ranks[np.argsort(scores, kind="stable")] = np.linspace(0, 1, scores.size)
    pace = np.exp(0.25 * _context_sum(weights, rng))
    return PoreModel(level=np.interp(ranks, _QUANTILES, _LEVELS), dwell=pace / pace.mean())


def _context_sum(weights: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    """A standardised score of each 9-mer: effects of single bases and of neighbours, summed."""
    single = rng.standard_normal((K, 4)) * weights[:, None]
    pairs = 0.5 * rng.standard_normal((K - 1, 4, 4)) * weights[1:, None, None]
    total = np.zeros((4,) * K)
    for place in range(K):
        total += np.expand_dims(single[place], [axis for axis in range(K) if axis != place])
    for place in range(K - 1):
        total += np.expand_dims(pairs[place], [axis for axis in range(K) if axis not in (place, place + 1)])
    scores = total.reshape(-1)
    standard: NDArray[np.float64] = (scores - scores.mean()) / scores.std()
    return standard


def files(seed: int, size: str) -> Iterator[ReadFile]:
    """Simulate all reads, a file at a time.

    Args:
        seed: the same seed gives the same reads.
        size: a key of `PLANS`.
    """
    plan = PLANS[size]
    for run in range(plan.runs):
        info = _run_info(run, np.random.default_rng((seed, run)))
        for file in range(plan.files):
            rng = np.random.default_rng((seed, run, file))
            begin = np.sort(rng.integers(0, 3600 * SAMPLE_RATE, plan.reads)) + file * 3600 * SAMPLE_RATE
            reads = tuple(simulate_read(int(start), plan.longest, rng) for start in begin)
            yield ReadFile(f"run_{run + 1}/reads_{file + 1}.pod5", info, reads)


def simulate_read(start: int, longest: int, rng: Generator) -> Read:
    """One read of random DNA.

    Args:
        start: sample of the run at which it begins.
        longest: see `Plan`.
        rng: source of everything random about it.
    """
    offset = float(rng.integers(-275, -255))
    speed = rng.normal(1, 0.06)
    n_bases = int(np.exp(rng.uniform(np.log(8000), np.log(longest))) * speed / MEAN_DWELL)
    end_reason = str(rng.choice(_END_REASONS, p=_END_SHARES))
    levels, dwell, n_before = _staircase(n_bases, speed, rng)
    if end_reason == "signal_positive":  # the strand has left the pore
        levels, dwell = np.append(levels, _OPEN_PORE), np.append(dwell, rng.uniform(20, 120))
    current = _with_noise(sampled(levels, dwell), rng)
    return Read(
        id=str(UUID(bytes=rng.bytes(16), version=4)),
        adc=np.clip(np.rint(current / SCALE - offset), *ADC_RANGE).astype(np.int16),
        offset=offset,
        scale=SCALE,
        channel=int(rng.integers(1, 3001)),
        well=int(rng.integers(1, 5)),
        number=start // (60 * SAMPLE_RATE) + 1,
        start=start,
        median_before=round(_OPEN_PORE + rng.normal(0, 4), 3),
        end_reason=end_reason,
        forced=end_reason != "signal_positive",
        first_base=int(dwell[:n_before].sum()),
        bases=n_bases,
    )


def _staircase(
    n_bases: int, speed: float, rng: Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Levels and dwell times of a read, and how many of them come before its first base.

    Open pore, the adapter held still, the adapter, then the bases with a few gaps.
    """
    adapter = np.array(["ACGT".index(base) for base in _ADAPTER])
    codes = kmers(np.concatenate([adapter, rng.integers(0, 4, n_bases)]))
    levels, dwell = pore_model().level[codes], dwell_times(codes, speed, rng)
    places = rng.integers(len(adapter), len(levels), rng.poisson(n_bases / _GAP_EVERY))
    levels = np.insert(levels, places, rng.choice([30.0, _OPEN_PORE], len(places), p=[0.8, 0.2]))
    dwell = np.insert(dwell, places, rng.uniform(4, 150, len(places)))
    levels = np.concatenate([[_OPEN_PORE, _STALL_LEVEL], levels])
    dwell = np.concatenate([[rng.uniform(20, 200), rng.uniform(400, 2500)], dwell])
    return levels, dwell, 2 + len(adapter)


def _with_noise(current: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    """Gain, baseline, drift, white and 1/f noise and spikes on top of a clean current [T]."""
    length = len(current)
    noisy = current * rng.normal(1, _GAIN_SPREAD) + rng.normal(0, _BASELINE_SPREAD)
    noisy += np.linspace(0, rng.normal(0, 2), length)
    noisy += rng.normal(0, _WHITE_NOISE, length) + _FLICKER_NOISE * flicker(length, rng)
    spikes = rng.integers(0, length, rng.poisson(length / _SPIKE_EVERY))
    noisy[spikes] += rng.normal(0, _SPIKE, len(spikes))
    return noisy


def _run_info(run: int, rng: Generator) -> dict[str, Any]:
    """A run on a PromethION; no real device, person or sample stands behind it."""
    begin = 1_704_103_200_000 + run * 86_400_000
    protocol = "sequencing/sequencing_PRO114_DNA_e8_2_400K:FLO-PRO114M:SQK-LSK114:400"
    return {
        "acquisition_id": rng.bytes(20).hex(),
        "acquisition_start_time": begin + 300_000,
        "adc_max": ADC_RANGE[1],
        "adc_min": ADC_RANGE[0],
        "context_tags": {"sample_frequency": str(SAMPLE_RATE), "selected_speed_bases_per_second": str(SPEED)},
        "experiment_name": "anycodec_samples",
        "flow_cell_id": f"PAZ{rng.integers(10_000, 100_000)}",
        "flow_cell_product_code": "FLO-PRO114M",
        "protocol_name": protocol,
        "protocol_run_id": str(UUID(bytes=rng.bytes(16), version=4)),
        "protocol_start_time": begin,
        "sample_id": "random_dna",
        "sample_rate": SAMPLE_RATE,
        "sequencing_kit": "sqk-lsk114",
        "sequencer_position": f"1{'ABCDEFGH'[run]}",
        "sequencer_position_type": "PromethION",
        "software": "anycodec samples",
        "system_name": "simulated",
        "system_type": "simulated",
        "tracking_id": {"exp_start_time": "2024-01-01T10:00:00Z", "device_type": "simulated"},
    }


def kmers(bases: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the 9-mer at each base [L]; the ends see A beyond the sequence."""
    around = np.pad(bases, (K // 2, K // 2))
    windows = np.lib.stride_tricks.sliding_window_view(around, K)
    return windows @ (4 ** np.arange(K - 1, -1, -1))


def dwell_times(codes: NDArray[np.int64], speed: float, rng: Generator) -> NDArray[np.float64]:
    """Samples that each base [L] stays, fractional, for a read at `speed` times the mean speed."""
    mean = pore_model().dwell[codes] * MEAN_DWELL / speed
    return rng.gamma(_DWELL_SHAPE, mean / _DWELL_SHAPE)


def sampled(levels: NDArray[np.float64], dwell: NDArray[np.float64]) -> NDArray[np.float64]:
    """A staircase of levels [L], averaged over each sample [T], as an integrating converter does."""
    ends = np.concatenate([[0.0], np.cumsum(dwell)])
    charge = np.concatenate([[0.0], np.cumsum(levels * dwell)])
    return np.diff(np.interp(np.arange(int(ends[-1]) + 1), ends, charge))


def flicker(length: int, rng: Generator) -> NDArray[np.float64]:
    """1/f noise [T] with unit deviation: white noise, shaped in the frequency domain."""
    padded = fft.next_fast_len(length, real=True)
    spectrum = fft.rfft(rng.standard_normal(padded))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    noise = fft.irfft(spectrum, padded)[:length]
    shaped: NDArray[np.float64] = noise / noise.std()
    return shaped
