"""Kinematics of walking people.

R. Boulic, N. Magnenat-Thalmann, D. Thalmann, "A global human walking model with real-time kinematic
personification", The Visual Computer 6 (1990), as V. C. Chen uses it in "The Micro-Doppler Effect in
Radar" (2011). Everything follows from the relative velocity RV = v / (leg length) and the phase of the
walking cycle in [0, 1); the left limbs are half a cycle behind the right ones.

Axes: x forward, y left, z up; metres; angles in degrees, positive to the front (flexion).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Float = NDArray[np.float64]
Knots = tuple[tuple[float, float], ...]

LENGTHS = {
    "head": 0.130,
    "shoulder": 0.1295,
    "torso": 0.288,
    "hip": 0.0955,
    "thigh": 0.245,
    "shank": 0.246,
    "foot": 0.143,
    "upper_arm": 0.188,
    "forearm": 0.152,
}
"""Length of each segment over the height of the body; shoulder and hip are half their widths."""


@dataclass(frozen=True, slots=True)
class Habits:
    """Factors on an average person, each 1.0 for that person."""

    trunk: float = 1.0
    thigh: float = 1.0
    shank: float = 1.0
    arm: float = 1.0
    cadence: float = 1.0
    hip_swing: float = 1.0
    knee_swing: float = 1.0
    ankle_swing: float = 1.0
    arm_swing: float = 1.0
    left_leg: float = 1.0
    left_arm: float = 1.0

    def __mul__(self, other: Habits) -> Habits:
        products = {f.name: getattr(self, f.name) * getattr(other, f.name) for f in fields(self)}
        return Habits(**products)


@dataclass(frozen=True, slots=True)
class Walker:
    """A person on the way.

    Attributes:
        height: metres.
        relative_velocity: RV, leg lengths a second, in (0, 3].
        habits: what makes this person differ from others.
    """

    height: float
    relative_velocity: float
    habits: Habits = field(default_factory=Habits)

    @property
    def leg(self) -> float:
        """Length of thigh and shank, m."""
        habits = self.habits
        return self.height * (LENGTHS["thigh"] * habits.thigh + LENGTHS["shank"] * habits.shank)

    @property
    def speed(self) -> float:
        """m/s."""
        return self.relative_velocity * self.leg

    @property
    def cycle(self) -> float:
        """Duration of a cycle of two steps, s."""
        return cycle_duration(self.relative_velocity) / self.habits.cadence


def cycle_duration(rv: float) -> float:
    """Seconds that an average person takes for two steps."""
    return 1.346 / float(np.sqrt(rv))


def support_share(rv: float) -> float:
    """Share of the cycle in which a foot is on the ground."""
    duration = cycle_duration(rv)
    return (0.752 * duration - 0.143) / duration


def joint_knots(joint: str, rv: float) -> Knots:
    """(phase, angle) through which a joint passes: hip, knee, ankle or elbow of the right side."""
    d = support_share(rv)
    if rv < 0.5:
        return {
            "hip": ((-0.1, 50 * rv), (0.5, -30 * rv)),
            "knee": ((0.17, 3), (0.4, 3), (0.75, 140 * rv), (1, 3)),
            "ankle": ((0, -3), (0.08, -30 * rv - 3), (0.5, 22 * rv - 3), (d, -34 * rv - 3), (0.85, -3)),
            "elbow": ((0.05, 6 * rv + 3), (0.5, 34 * rv + 3), (0.9, 10 * rv + 3)),
        }[joint]
    if rv < 1.3:
        w = (rv - 0.5) / 0.8
        return {
            "hip": ((-0.1, 25), (0.5, -15)),
            "knee": ((0.17, 3), (0.4, 3), (0.75, 70), (1, 3)),
            "ankle": ((0, -3), (0.08, -18), (0.5, 8), (d, -20), (0.85, -3)),
            "elbow": ((0.05, 8 * w + 6), (0.5 + 0.01 * w, 24 * w + 20), (0.9, 9 * w + 8)),
        }[joint]
    u = (rv - 1.3) / 1.7
    return {
        "hip": ((0.2 * u - 0.1, 5 * u + 25), (0.5, -15), (0.9, 6 * u + 25)),
        "knee": (
            (0.17 - 0.05 * u, 22 * u + 3),
            (0.4, 3),
            (0.75 - 0.05 * u, 70 - 5 * u),
            (1 - 0.03 * u, 3 * u + 3),
        ),
        "ankle": (
            (0, 5 * u - 3),
            (0.08, 4 * u - 18),
            (0.5 - 0.1 * u, 8 - 3 * u),
            (d, -20 - 8 * u),
            (0.85, 5 * u - 3),
        ),
        "elbow": ((0.05, 14 - 6 * u), (0.51 + 0.04 * u, 44 + 26 * u), (0.9 - 0.1 * u, 17 - 6 * u)),
    }[joint]


def through_knots(knots: Knots, phase: Float) -> Float:
    """Periodic monotone cubic interpolation (PCHIP), period 1."""
    by_phase = {round(x % 1, 9): y for x, y in reversed(knots)}
    x = np.array(sorted(by_phase))
    y = np.array([by_phase[place] for place in sorted(by_phase)])
    curve = PchipInterpolator(np.concatenate([x - 1, x, x + 1]), np.tile(y, 3))
    angles: Float = curve(phase % 1)
    return angles


def skeleton(walker: Walker, phase: Float, travelled: Float) -> dict[str, tuple[Float, Float]]:
    """Both ends [T 3] of each segment, by name; limbs are `right_...` and `left_...`.

    Args:
        walker: who.
        phase: of the walking cycle [T], in cycles, not wrapped.
        travelled: way of the body along x [T], m.
    """
    rv, size = walker.relative_velocity, {name: walker.height * part for name, part in LENGTHS.items()}
    size["torso"] *= walker.habits.trunk
    pelvis = np.stack(
        [travelled, np.zeros_like(phase), np.full_like(phase, walker.leg + 0.04 * walker.height)], 1
    )
    pelvis += _trunk_shift(rv, phase)
    pitch = 2 * (-1 + np.sin(2 * np.pi * (2 * phase - 0.1)))
    neck = pelvis + size["torso"] * _direction(180 - pitch)
    roll = 1.66 * rv * through_knots(((0, 0), (0.15, -2), (0.5, 0), (0.65, 2)), phase)
    hips = _sideways(-4 * rv * np.cos(2 * np.pi * phase), roll)
    thorax_knots = ((0.1, 4 / 3 * rv), (0.4, -1.5 * rv), (0.6, -4 / 3 * rv), (0.9, 1.5 * rv))
    shoulders = _sideways(through_knots(thorax_knots, phase), np.zeros_like(phase))
    body = {"torso": (pelvis, neck), "head": (neck, neck + size["head"] * np.array([0.0, 0.0, 1.0]))}
    for side, sign, lag in (("right", -1, 0.0), ("left", 1, 0.5)):
        hip = pelvis + sign * size["hip"] * hips
        shoulder = neck + sign * size["shoulder"] * shoulders
        limbs = {"hip": (pelvis, hip), "shoulder": (neck, shoulder)}
        limbs |= _leg(walker, size, hip, phase + lag, side) | _arm(walker, size, shoulder, phase + lag, side)
        body |= {f"{side}_{name}": ends for name, ends in limbs.items()}
    return body


def _trunk_shift(rv: float, phase: Float) -> Float:
    """How the pelvis moves about its mean way [T 3], m."""
    slow = rv < 0.5
    lateral = 0.128 * rv * (rv - 1) if slow else -0.032
    forward = 0.084 * rv * (rv - 1) if slow else -0.021
    return np.stack(
        [
            forward * np.sin(2 * np.pi * (2 * phase + 2 * (0.625 - support_share(rv)))),
            lateral * np.sin(2 * np.pi * (phase - 0.1)),
            0.015 * rv * (-1 + np.sin(2 * np.pi * (2 * phase - 0.35))),
        ],
        axis=1,
    )


def _leg(
    walker: Walker, size: dict[str, float], hip: Float, phase: Float, side: str
) -> dict[str, tuple[Float, Float]]:
    rv, habits = walker.relative_velocity, walker.habits
    swing = habits.left_leg if side == "left" else 1.0
    thigh = swing * habits.hip_swing * through_knots(joint_knots("hip", rv), phase)
    shank = thigh - swing * habits.knee_swing * through_knots(joint_knots("knee", rv), phase)
    foot = shank + habits.ankle_swing * through_knots(joint_knots("ankle", rv), phase)
    knee = hip + habits.thigh * size["thigh"] * _direction(thigh)
    ankle = knee + habits.shank * size["shank"] * _direction(shank)
    toes = ankle + size["foot"] * _direction(foot + 90)
    return {"thigh": (hip, knee), "shank": (knee, ankle), "foot": (ankle, toes)}


def _arm(
    walker: Walker, size: dict[str, float], shoulder: Float, phase: Float, side: str
) -> dict[str, tuple[Float, Float]]:
    rv, habits = walker.relative_velocity, walker.habits
    swing = habits.arm_swing * (habits.left_arm if side == "left" else 1.0)
    amplitude = 9.88 * rv
    upper = swing * (3 - amplitude / 2 - amplitude * np.cos(2 * np.pi * phase))
    fore = upper + swing * through_knots(joint_knots("elbow", rv), phase)
    elbow = shoulder + habits.arm * size["upper_arm"] * _direction(upper)
    hand = elbow + habits.arm * size["forearm"] * _direction(fore)
    return {"upper_arm": (shoulder, elbow), "forearm": (elbow, hand)}


def _direction(angle: Float) -> Float:
    """Unit vectors [T 3] in the walking plane: 0 degrees hangs down, 90 points to the front."""
    radians = np.deg2rad(angle)
    return np.stack([np.sin(radians), np.zeros_like(radians), -np.cos(radians)], axis=1)


def _sideways(yaw: Float, roll: Float) -> Float:
    """Unit vectors [T 3] to the left, turned about the vertical (yaw) and the walking axis (roll)."""
    a, b = np.deg2rad(yaw), np.deg2rad(roll)
    return np.stack([-np.sin(a) * np.cos(b), np.cos(a) * np.cos(b), np.sin(b)], axis=1)
