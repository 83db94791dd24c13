"""Simulated meters of a building: multivariate series with the habits of real ones.

    channel = level + trend + daily and weekly season + shared slow factors + noise of changing strength

Levels and noise jump where the regime changes (a machine is replaced, a season ends), some stretches
are missing, one column counts events and one holds text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import signal

ROWS_PER_DAY = 96
"""A row every 15 minutes."""
START = "2024-01-01T00:00:00"
ROWS = {"small": 30 * ROWS_PER_DAY, "full": 365 * ROWS_PER_DAY}
SITES = ("north", "south")
"""One wide file each."""
METERS = tuple(f"meter_{number}" for number in range(1, 6))
"""Series of the long file."""
CHANNELS = {
    "load_kw": (120.0, 25.0),
    "temperature_c": (18.0, 4.0),
    "humidity_pct": (55.0, 9.0),
    "flow_lpm": (40.0, 8.0),
    "pressure_kpa": (310.0, 12.0),
    "vibration_mm_s": (2.4, 0.5),
}
"""Typical value and spread of each channel, in the unit that its name ends with."""
GAPS_PER_CHANNEL, LONGEST_GAP = 3, ROWS_PER_DAY
N_FACTORS = 3


@dataclass(frozen=True, slots=True)
class Table:
    """One file.

    Attributes:
        path: where it goes, relative to the sample folder; the suffix tells the format.
        columns: equally long arrays, in order: float64 with NaN where a value is missing, int64, text
            or datetime64[s].
    """

    path: str
    columns: dict[str, NDArray[Any]]


def tables(seed: int, size: str) -> Iterator[Table]:
    """Two wide CSV files, a site each, and one long Parquet file of five meters.

    Args:
        seed: the same seed gives the same values.
        size: a key of `ROWS`.
    """
    rows = ROWS[size]
    for number, site in enumerate(SITES):
        yield Table(f"{site}.csv", _site(rows, np.random.default_rng((seed, number))))
    parts = [_meter(rows, name, np.random.default_rng((seed, 10, i))) for i, name in enumerate(METERS)]
    yield Table("long/meters.parquet", {key: np.concatenate([p[key] for p in parts]) for key in parts[0]})


def simulate(rows: int, channels: int, rng: Generator) -> NDArray[np.float64]:
    """Standardised series [T C] that share seasons, slow factors and regimes; nothing is missing."""
    time = np.arange(rows) / ROWS_PER_DAY
    shared = np.stack([_autoregression(rows, 0.995, rng) for _ in range(N_FACTORS)], axis=1)
    weekend = np.where(time % 7 >= 5, 0.4, 1.0)
    phases = rng.normal(0, 0.08, channels)
    daily = _harmonics(time[:, None] - phases, rng.normal(1, 0.2, channels), 3)
    weekly = np.sin(2 * np.pi * (time[:, None] / 7 - phases))
    trend = np.linspace(-0.5, 0.5, rows)[:, None] * rng.normal(0, 1, channels)
    level, strength = _regimes(rows, channels, rng)
    noise = _autoregression((rows, channels), 0.6, rng) * 0.15 * strength
    noise *= np.exp(0.5 * _autoregression(rows, 0.98, rng))[:, None] * (1 + 0.5 * np.abs(daily))
    mixing = rng.normal(0, 0.35, (N_FACTORS, channels))
    series: NDArray[np.float64] = (
        0.8 * daily * weekend[:, None] + 0.3 * weekly + trend + level + shared @ mixing + noise
    )
    return series


def _autoregression(shape: int | tuple[int, int], memory: float, rng: Generator) -> NDArray[np.float64]:
    """x_t = memory x_(t-1) + noise, along the first axis, started in its stationary state of deviation 1."""
    steps = rng.standard_normal(shape) * np.sqrt(1 - memory**2)
    steps[0] /= np.sqrt(1 - memory**2)
    series: NDArray[np.float64] = signal.lfilter([1.0], [1.0, -memory], steps, axis=0)
    return series


def _harmonics(
    cycles: NDArray[np.float64], amplitude: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """A day's shape [T C]: a sine and its overtones, which fall off as 1/n."""
    waves = [np.sin(2 * np.pi * n * cycles + n) / n for n in range(1, count + 1)]
    shape: NDArray[np.float64] = amplitude * np.sum(waves, axis=0)
    return shape


def _regimes(rows: int, channels: int, rng: Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Level and noise factor [T C], constant between changes that come about every 20 days."""
    changes = np.sort(rng.integers(0, rows, max(1, rows // (20 * ROWS_PER_DAY))))
    regime = np.searchsorted(changes, np.arange(rows), side="right")
    levels = rng.normal(0, 0.6, (len(changes) + 1, channels))
    strengths = np.exp(rng.normal(0, 0.4, (len(changes) + 1, channels)))
    return levels[regime], strengths[regime]


def _with_gaps(values: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    """Runs of NaN, up to a day long, in each column of [T C]."""
    for column in values.T:
        for start in rng.integers(1, len(column) - LONGEST_GAP, GAPS_PER_CHANNEL):
            column[start : start + rng.integers(1, LONGEST_GAP)] = np.nan
    return values


def _times(rows: int) -> NDArray[np.datetime64]:
    return np.datetime64(START) + np.arange(rows) * np.timedelta64(86_400 // ROWS_PER_DAY, "s")


def _site(rows: int, rng: Generator) -> dict[str, NDArray[Any]]:
    series = simulate(rows, len(CHANNELS), rng)
    centre, spread = np.array(list(CHANNELS.values())).T
    starts = rng.poisson(np.exp(0.5 + 0.5 * series[:, 0]))
    alarm = _autoregression(rows, 0.97, rng)
    status = np.select([alarm > 2.2, alarm < -1.8], ["fault", "maintenance"], "ok").astype(object)
    measured = _with_gaps(np.round(centre + spread * series, 3), rng)
    return {
        "date": _times(rows),
        **dict(zip(CHANNELS, measured.T, strict=True)),
        "starts": starts,
        "status": status,
    }


def _meter(rows: int, name: str, rng: Generator) -> dict[str, NDArray[Any]]:
    power, heat = _with_gaps(np.round(simulate(rows, 2, rng), 4), rng).T
    return {
        "date": _times(rows),
        "meter": np.full(rows, name, object),
        "power": power,
        "heat": heat,
    }
