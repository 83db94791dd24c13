"""Simulated nanopore reads: a squiggle model of R10.4.1-like current at 5 kHz.

A random DNA sequence steps through the pore. Each 6-mer has a mean level; the two central bases
weigh most. A base stays for a gamma-distributed time of 12.5 samples on average (400 bases/s). On
top of the level: white noise, slow drift (a random walk), rare spikes. Each read starts in the open
pore's current and a flat adapter stall, and has its own gain, offset and speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAMPLE_RATE = 5000
BASES_PER_SECOND = 400
DWELL = SAMPLE_RATE / BASES_PER_SECOND
"""Mean samples a base."""
CALIBRATION_SCALE = 0.1755
"""pA an ADC count, as on PromethION flow cells."""
K = 6
_WEIGHTS = np.array([0.35, 0.7, 1.0, 0.9, 0.5, 0.25])
"""How much each base of a 6-mer moves the level."""


@dataclass(frozen=True, slots=True)
class SimulatedRead:
    """A read and the metadata that a POD5 file keeps of it.

    Attributes:
        id: from the seed.
        adc: [T] int16 counts.
        offset, scale: pA = (adc + offset) * scale.
        channel, well, number, start: where and when it was read; start in samples.
        median_before: pA of the open pore before the read.
    """

    id: UUID
    adc: NDArray[np.int16]
    offset: float
    scale: float
    channel: int
    well: int
    number: int
    start: int
    median_before: float


def pore_model(seed: int = 0) -> Floats:
    """Mean level of each 6-mer in pA, [4096], index in base 4 with the first base leading.

    Each base adds its own effect by position, neighbours interact, and a small part belongs to the
    6-mer alone; scaled to mean 92 and deviation 14.5 pA, within 55 to 135.
    """
    rng = np.random.default_rng((seed, 1))
    digits = (np.arange(4**K)[:, None] // 4 ** np.arange(K - 1, -1, -1)) % 4
    single = rng.normal(size=(K, 4)) * _WEIGHTS[:, None]
    pair = rng.normal(size=(K - 1, 4, 4)) * 0.5 * np.sqrt(_WEIGHTS[:-1] * _WEIGHTS[1:])[:, None, None]
    level = single[np.arange(K), digits].sum(axis=1)
    level += pair[np.arange(K - 1), digits[:, :-1], digits[:, 1:]].sum(axis=1)
    level += 0.25 * rng.normal(size=4**K)
    level = (level - level.mean()) / level.std()
    return np.clip(92 + 14.5 * level, 55, 135)


def simulate(rng: np.random.Generator, model: Floats, length: int) -> tuple[Floats, float]:
    """Current of a read of `length` samples in pA, and the open pore's level before it."""
    bases = int(length / DWELL * 1.3) + 200
    sequence = rng.integers(0, 4, bases + K)
    kmers = np.lib.stride_tricks.sliding_window_view(sequence, K) @ 4 ** np.arange(K - 1, -1, -1)
    speed = rng.normal(1.0, 0.08)
    dwell = np.maximum(1, rng.gamma(2.2, DWELL / 2.2 * speed, len(kmers)).round()).astype(int)
    level = np.repeat(model[kmers] + rng.normal(0, 0.8, len(kmers)), dwell)
    open_pore = rng.normal(215, 6)
    stall = np.full(int(rng.integers(200, 900)), rng.normal(72, 3))
    opening = np.full(int(rng.integers(10, 60)), open_pore)
    current = np.concatenate([opening, stall, level])[:length]
    current = current + rng.normal(0, rng.uniform(1.6, 2.8), length)
    current += np.cumsum(rng.normal(0, 0.006, length))
    spikes = rng.random(length) < 2e-5
    current[spikes] += rng.normal(0, 60, int(spikes.sum()))
    return current * rng.normal(1.0, 0.02) + rng.normal(0, 3.0), open_pore


def reads(seed: int, count: int) -> Iterator[SimulatedRead]:
    """`count` reads with log-normal lengths of 8,000 to 60,000 samples."""
    model = pore_model()
    rng = np.random.default_rng((seed, 2))
    start = 0
    for number in range(count):
        length = int(np.clip(rng.lognormal(np.log(20_000), 0.55), 8_000, 60_000))
        current, open_pore = simulate(rng, model, length)
        offset = float(rng.integers(-260, -220))
        adc = np.clip(np.rint(current / CALIBRATION_SCALE - offset), -4096, 4095).astype(np.int16)
        start += int(rng.integers(500, 20_000))
        yield SimulatedRead(
            id=UUID(bytes=rng.bytes(16), version=4),
            adc=adc,
            offset=offset,
            scale=CALIBRATION_SCALE,
            channel=int(rng.integers(1, 3001)),
            well=int(rng.integers(1, 5)),
            number=number,
            start=start,
            median_before=float(open_pore),
        )
        start += length
