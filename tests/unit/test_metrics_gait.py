"""Descriptors of walks on pictures whose torso line, envelopes and cadence are known."""

import numpy as np
import pytest

from anycodec.metrics.gait import cadence, descriptors, envelopes, torso_line

HEIGHT, WIDTH = 64, 96


def walk(torso: float, swing: float, steps: float, low: float = 0.2) -> np.ndarray:
    """[H W]: a bright line at `torso`, dim cells from `low` up to torso + .1 + swing (1 + sin) / 2."""
    heights = 1 - (np.arange(HEIGHT) + 0.5) / HEIGHT
    time = np.arange(WIDTH) / WIDTH
    upper = torso + 0.1 + swing * (1 + np.sin(2 * np.pi * steps * time)) / 2
    body = (heights[:, None] <= upper) & (heights[:, None] >= low)
    line = np.exp(-(((heights - torso) / 0.02) ** 2))[:, None]
    return np.maximum(0.5 * body, line)


@pytest.mark.parametrize("torso", [0.4, 0.53, 0.6])
@pytest.mark.parametrize("steps", [2.0, 3.5])
def test_descriptors_of_a_known_walk(torso, steps):
    found = {name: values[0] for name, values in descriptors(walk(torso, 0.2, steps)[None]).items()}
    assert found["torso"] == pytest.approx(torso, abs=0.02)
    assert found["upper"] == pytest.approx(torso + 0.2, abs=0.03)
    assert found["lower"] == pytest.approx(0.2, abs=0.02)
    assert found["swing"] == pytest.approx(0.2 * np.cos(0.1 * np.pi), abs=0.03)  # 10th to 90th percentile
    assert found["cadence"] == pytest.approx(steps, abs=0.15)


def test_torso_line_follows_a_slow_drift():
    picture = np.zeros((HEIGHT, WIDTH))
    rows = np.linspace(20, 24, WIDTH).round().astype(int)
    picture[rows, np.arange(WIDTH)] = 1
    np.testing.assert_allclose(torso_line(picture), 1 - (rows + 0.5) / HEIGHT)


def test_a_picture_with_gaps():
    picture = walk(0.5, 0.2, 3)
    picture[:, 40:48] = 0
    upper, lower = envelopes(picture)
    assert np.isnan(upper[40:48]).all()
    assert np.isnan(torso_line(picture)[40:48]).all()
    assert np.isfinite(lower[:40]).all()
    assert cadence(upper) == pytest.approx(3, abs=0.3)


def test_what_shows_no_walk_has_no_cadence():
    empty = descriptors(np.zeros((1, HEIGHT, WIDTH)))
    assert all(np.isnan(values).all() for values in empty.values())
    assert np.isnan(cadence(np.full(WIDTH, 0.5)))
    assert np.isnan(cadence(np.r_[np.full(60, np.nan), np.arange(36.0)]))


def test_descriptors_tell_slow_walkers_from_fast_ones():
    slow, fast = (descriptors(np.stack([walk(t, 0.2, s)] * 2)) for t, s in ((0.4, 2), (0.6, 3)))
    assert (fast["torso"] > slow["torso"]).all()
    assert (fast["cadence"] > slow["cadence"]).all()
