"""What a person reads off a micro-Doppler picture of a walk, as numbers.

    Doppler ^      upper envelope: the fastest limb that swings forwards
            |   .'\\   .'\\   .'\
            | ========= torso line: where most power is
            |   './    './   './      lower envelope: limbs on the ground or swinging back
            +-----------------------> time       a swing of either leg is one step: cadence

Pictures are levels in [0, 1], [N H W] with Doppler upwards (row 0 is the highest) and time to the right.
Positions are shares of the picture's height, 0 at its lower edge and 1 at its upper one; the cadence is in
steps a picture. What the axes mean in m/s and s only the user knows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLOOR = 0.4
"""Level above which a cell belongs to the body, as a share of the picture's brightest cell."""
DESCRIPTORS = ("torso", "upper", "lower", "swing", "cadence")
"""Names of the descriptors: medians over time of the torso line and both envelopes, how far the upper
envelope swings (90th - 10th percentile over time), and steps a picture."""


def descriptors(pictures: NDArray[np.floating]) -> Mapping[str, Floats]:
    """Each of `DESCRIPTORS` of pictures [N H W]; NaN where a picture shows no body."""
    rows = [_describe(np.asarray(picture, np.float64)) for picture in pictures]
    table = np.array(rows).reshape(-1, len(DESCRIPTORS))
    return {name: table[:, i] for i, name in enumerate(DESCRIPTORS)}


def torso_line(picture: Floats) -> Floats:
    """Position [W] of the torso: the centre of the levels around the brightest row over a picture's time.

    The torso returns most of the power and moves little: the row is found once, and followed within a
    tenth of the height.
    """
    heights = _heights(len(picture))
    middle = heights[picture.sum(axis=1).argmax()]
    near = np.where(np.abs(heights - middle) <= 0.1, 1.0, 0.0)[:, None] * picture**2
    weight = near.sum(axis=0)
    lost = weight <= 0
    line: Floats = np.where(lost, np.nan, (near * heights[:, None]).sum(axis=0) / np.where(lost, 1, weight))
    return line


def envelopes(picture: Floats) -> tuple[Floats, Floats]:
    """Upper and lower envelope [W]: the outermost cells of the body; NaN where there is none."""
    body = picture >= FLOOR * picture.max()
    heights = _heights(len(picture))
    seen = body.any(axis=0)
    upper = np.where(seen, heights[body.argmax(axis=0)], np.nan)
    lower = np.where(seen, heights[len(picture) - 1 - body[::-1].argmax(axis=0)], np.nan)
    return upper, lower


def cadence(envelope: Floats) -> float:
    """Steps a picture [W]: the strongest line of the envelope's spectrum, between the bins by a parabola.

    NaN of an envelope that doesn't move, or of which more than half is missing.
    """
    known = np.isfinite(envelope)
    if known.mean() < 0.5:
        return float("nan")
    places = np.arange(len(envelope))
    full = np.interp(places, places[known], envelope[known])
    swing = full - full.mean()
    if np.abs(swing).max() < 1e-9:
        return float("nan")
    pad = 8
    spectrum = np.abs(np.fft.rfft(swing * np.hanning(len(swing)), pad * len(swing)))
    spectrum[:pad] = 0  # slower than once a picture: a drift, not a step
    peak = int(spectrum.argmax())
    if not 0 < peak < len(spectrum) - 1:
        return peak / pad
    left, centre, right = spectrum[peak - 1 : peak + 2]
    curvature = left - 2 * centre + right
    offset = 0.5 * (left - right) / curvature if curvature else 0.0
    return float((peak + offset) / pad)


def _describe(picture: Floats) -> tuple[float, ...]:
    if picture.max() <= 0:
        return (float("nan"),) * len(DESCRIPTORS)
    upper, lower = envelopes(picture)
    top, bottom = np.nanpercentile(upper, (90, 10))
    return (
        float(np.nanmedian(torso_line(picture))),
        float(np.nanmedian(upper)),
        float(np.nanmedian(lower)),
        float(top - bottom),
        cadence(upper),
    )


def _heights(rows: int) -> Floats:
    """Centres of the rows as shares of the height, the first at the top."""
    heights: Floats = 1 - (np.arange(rows) + 0.5) / rows
    return heights
