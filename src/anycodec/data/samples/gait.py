"""Micro-Doppler pictures of walking people, as a radar beside their way would see them.

    walker -> positions of its segments -> echoes of points on them, summed -> spectrogram -> picture

Each segment is an ellipsoid whose echo depends on the angle at which the radar sees it (V. C. Chen,
"The Micro-Doppler Effect in Radar", 2011), and moves by the kinematics in `walk.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from anycodec.data.samples.walk import Float, Habits, Walker, skeleton

WAVELENGTH = 299_792_458 / 24e9
"""m; a radar at 24 GHz."""
PULSE_RATE = 2000
"""Echoes a second."""
SEGMENT, HOP = 128, 72
"""Samples a spectrum (Hann), and between spectra."""
BINS_BELOW, BINS_ABOVE = 12, 52
"""Rows of the picture below and above zero Doppler; a row is .098 m/s."""
COLUMNS, STEP = 64, 16
"""Spectra a picture, and between pictures (75 % overlap)."""
ZOOM = 4
"""Pixels along each side of a spectrogram cell."""
DYNAMIC_RANGE = 30.0
"""dB between the darkest and the brightest colour."""
USERS = 31
RADAR_HEIGHT = 1.0
CLOSEST = 3.0
"""m; range at which a pass ends."""

_RADIUS = {
    "head": 0.10,
    "torso": 0.15,
    "shoulder": 0.06,
    "upper_arm": 0.06,
    "forearm": 0.05,
    "hip": 0.07,
    "thigh": 0.07,
    "shank": 0.06,
    "foot": 0.05,
}
"""Radius of each segment's ellipsoid across its axis, m."""
_REFLECTIVITY = {"torso": 5.0, "thigh": 2.0, "shank": 4.0, "foot": 9.0, "forearm": 2.0}
"""Echo power over that of a smooth conducting ellipsoid where it isn't 1, chosen so that pictures look
like recorded ones: a trunk of many layers, folds of trousers, edges of shoes."""
_POINTS = 7
"""Scatterers a segment."""


@dataclass(frozen=True, slots=True)
class User:
    """A person as the radar knows it.

    Attributes:
        walker: body and habits.
        scatterers: of each segment, places along it in [0, 1] and factors on the amplitude [2 _POINTS].
    """

    walker: Walker
    scatterers: dict[str, Float]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to simulate: passes towards the radar a user, and pictures a pass."""

    passes: int
    pictures: int


PLANS = {"small": Plan(1, 16), "full": Plan(10, 15)}


@dataclass(frozen=True, slots=True)
class Picture:
    """One file.

    Attributes:
        path: where it goes, relative to the sample folder: `ID_<user>/<number>.png`, in order of time.
        pixels: uint8 [256 256 3], jet colours, time to the right, Doppler towards the radar upwards.
    """

    path: str
    pixels: NDArray[np.uint8]


def pictures(seed: int, size: str, users: int = USERS) -> Iterator[Picture]:
    """Pictures of all users.

    Args:
        seed: the same seed gives the same pictures.
        size: a key of `PLANS`.
        users: how many people.
    """
    plan = PLANS[size]
    for number in range(1, users + 1):
        user = make_user(np.random.default_rng((seed, number)))
        for part in range(plan.passes):
            rng = np.random.default_rng((seed, number, part))
            cells = spectrogram(walk_past(user, COLUMNS + STEP * (plan.pictures - 1), rng))
            for index in range(plan.pictures):
                window = cells[:, index * STEP : index * STEP + COLUMNS]
                name = f"ID_{number}/{part * plan.pictures + index + 1:04d}.png"
                yield Picture(name, enlarge(jet(scaled(window))))


def make_user(rng: Generator) -> User:
    """Draw a person."""
    spreads = {"arm_swing": 0.35, "cadence": 0.05, "left_leg": 0.06, "left_arm": 0.15}
    habits = Habits(
        **{f.name: float(np.exp(rng.normal(0, spreads.get(f.name, 0.08)))) for f in fields(Habits)}
    )
    walker = Walker(rng.uniform(1.5, 1.95), rng.uniform(0.9, 1.75), habits)
    segments = skeleton(walker, np.zeros(1), np.zeros(1))
    return User(walker, {name: _scatterers(rng) for name in segments})


def _scatterers(rng: Generator) -> Float:
    places = (np.arange(_POINTS) + rng.uniform(size=_POINTS)) / _POINTS
    return np.stack([places, np.exp(rng.normal(0, 0.4, _POINTS))])


def walk_past(user: User, columns: int, rng: Generator) -> NDArray[np.complex128]:
    """Echo [T] of one pass towards the radar, long enough for this many spectra.

    Habits vary by 2 % from pass to pass, the way is up to 10 degrees off the line of sight, the noise
    is 15 to 25 dB below the echo.
    """
    wobble = Habits(**{f.name: float(np.exp(rng.normal(0, 0.02))) for f in fields(Habits)})
    mean = user.walker
    walker = Walker(mean.height, mean.relative_velocity * rng.normal(1, 0.02), mean.habits * wobble)
    length = (columns - 1) * HOP + SEGMENT
    pace = 1 + 0.02 * _slow_noise(length, rng)
    phase = rng.uniform() + np.cumsum(pace) / (PULSE_RATE * walker.cycle)
    travelled = np.cumsum(pace) * walker.speed / PULSE_RATE
    clean = echo(user, skeleton(walker, phase, travelled), np.deg2rad(rng.uniform(-10, 10)))
    power = np.mean(np.abs(clean) ** 2) / 10 ** (rng.uniform(15, 25) / 10)
    noise = rng.standard_normal((2, length)) * np.sqrt(power / 2)
    noisy: NDArray[np.complex128] = clean + noise[0] + 1j * noise[1]
    return noisy


def echo(user: User, body: dict[str, tuple[Float, Float]], aspect: float) -> NDArray[np.complex128]:
    """s(t) = R^2 sum_i sqrt(sigma_i) / R_i^2 exp(-j 4 pi R_i / wavelength), a walk that ends near the radar.

    R, the range of the trunk, levels the echo as the gain control of a radar does.

    Args:
        user: for the strength of its scatterers.
        body: ends [T 3] of its segments; walks along +x.
        aspect: radians between the way and the line of sight at its end.
    """
    last = body["torso"][0][-1]
    radar = last + CLOSEST * np.array([np.cos(aspect), np.sin(aspect), 0.0])
    radar[2] = RADAR_HEIGHT
    total = np.zeros(len(body["torso"][0]), np.complex128)
    for name, (start, end) in body.items():
        sigma = cross_section(name, start, end, radar)
        axis, sight = end - start, start - radar
        near, lean, span = (
            np.einsum("td,td->t", *pair) for pair in ((sight, sight), (sight, axis), (axis, axis))
        )
        for place, strength in user.scatterers[name].T:
            distance = np.sqrt(near + 2 * place * lean + place**2 * span)
            amplitude = strength * np.sqrt(sigma / _POINTS) / distance**2
            total += amplitude * np.exp(-4j * np.pi / WAVELENGTH * distance)
    levelled: NDArray[np.complex128] = total * np.sum((body["torso"][0] - radar) ** 2, axis=1)
    return levelled


def cross_section(name: str, start: Float, end: Float, radar: Float) -> Float:
    """Radar cross-section [T] of a segment, m^2: an ellipsoid of semi-axes a, a and c = length / 2.

    sigma = pi a^4 c^2 / (a^2 sin^2 th + c^2 cos^2 th)^2, th between its axis and the line of sight.
    """
    part = name.removeprefix("left_").removeprefix("right_")
    axis, sight = end - start, radar - (start + end) / 2
    length = np.linalg.norm(axis, axis=1)
    cosine = np.einsum("td,td->t", axis, sight) / (length * np.linalg.norm(sight, axis=1))
    a2, c2 = _RADIUS[part] ** 2, (length / 2) ** 2
    sigma: Float = (
        _REFLECTIVITY.get(part, 1.0) * np.pi * a2**2 * c2 / (a2 * (1 - cosine**2) + c2 * cosine**2) ** 2
    )
    return sigma


def spectrogram(echoes: NDArray[np.complex128]) -> Float:
    """Power in dB [BINS_BELOW + BINS_ABOVE, columns], lowest Doppler first."""
    frames = np.lib.stride_tricks.sliding_window_view(echoes, SEGMENT)[::HOP]
    spectrum = np.fft.fft(frames * np.hanning(SEGMENT), axis=1)
    power = np.abs(np.roll(spectrum, BINS_BELOW, axis=1)[:, : BINS_BELOW + BINS_ABOVE]) ** 2
    decibels: Float = 10 * np.log10(power + np.finfo(float).tiny)
    return decibels.T


def scaled(decibels: Float) -> Float:
    """Into [0, 1], the brightest cell at 1, everything DYNAMIC_RANGE below it at 0."""
    levels: Float = np.clip((decibels - decibels.max()) / DYNAMIC_RANGE + 1, 0, 1)
    return levels


def jet(levels: Float) -> NDArray[np.uint8]:
    """Levels in [0, 1] as the colours dark blue, cyan, yellow, dark red: [H W] -> [H W 3]."""
    centres = np.array([3.0, 2.0, 1.0])
    colours = np.clip(1.5 - np.abs(4 * levels[..., None] - centres), 0, 1)
    pixels: NDArray[np.uint8] = np.rint(255 * colours).astype(np.uint8)
    return pixels


def enlarge(cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cells [H W 3] as squares of pixels, the lowest row last."""
    zoomed: NDArray[np.uint8] = cells[::-1].repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    return zoomed


def _slow_noise(length: int, rng: Generator) -> Float:
    """Smooth noise [T] of about unit deviation that changes within seconds."""
    knots = rng.standard_normal(length // PULSE_RATE + 2)
    return np.interp(np.arange(length) / PULSE_RATE, np.arange(len(knots)), knots)
