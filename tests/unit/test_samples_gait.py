"""The walking simulator against the published model and elementary radar physics."""

import numpy as np
import pytest

from anycodec.data.samples import gait
from anycodec.data.samples.walk import (
    Habits,
    Walker,
    cycle_duration,
    joint_knots,
    skeleton,
    support_share,
    through_knots,
)

AVERAGE = Walker(height=1.75, relative_velocity=1.3)


def test_cycle_and_support_durations_of_boulic_and_thalmann():
    assert cycle_duration(1.0) == pytest.approx(1.346)
    assert cycle_duration(1.44) == pytest.approx(1.346 / 1.2)
    assert support_share(1.0) * 1.346 == pytest.approx(0.752 * 1.346 - 0.143)


@pytest.mark.parametrize(
    ("joint", "rv", "expected"),
    [
        ("hip", 0.4, {0.9: 20, 0.5: -12}),
        ("hip", 1.0, {0.9: 25, 0.5: -15}),
        ("hip", 3.0, {0.1: 30, 0.5: -15, 0.9: 31}),
        ("knee", 0.4, {0.17: 3, 0.4: 3, 0.75: 56, 0.0: 3}),
        ("knee", 1.0, {0.17: 3, 0.4: 3, 0.75: 70, 0.0: 3}),
        ("knee", 3.0, {0.12: 25, 0.4: 3, 0.7: 65, 0.97: 6}),
        ("ankle", 1.0, {0.0: -3, 0.08: -18, 0.5: 8, 0.752 - 0.143 / 1.346: -20, 0.85: -3}),
        ("ankle", 3.0, {0.0: 2, 0.08: -14, 0.4: 5, 0.85: 2}),
        ("elbow", 0.9, {0.05: 10, 0.505: 32, 0.9: 12.5}),
        ("elbow", 3.0, {0.05: 8, 0.55: 70, 0.8: 11}),
    ],
)
def test_joints_pass_through_the_published_knots(joint, rv, expected):
    angles = through_knots(joint_knots(joint, rv), np.array(list(expected)))
    np.testing.assert_allclose(angles, list(expected.values()), atol=1e-9)


@pytest.mark.parametrize("joint", ["hip", "knee", "ankle", "elbow"])
@pytest.mark.parametrize("border", [0.5, 1.3])
def test_regimes_meet_at_their_borders(joint, border):
    phase = np.linspace(0, 1, 200)
    below, above = (through_knots(joint_knots(joint, border + side), phase) for side in (-1e-6, 1e-6))
    # above 1.3 the hip's peak is a pair of knots, which first lie close together and tilt the curve
    np.testing.assert_allclose(below, above, atol=0.7 if (joint, border) == ("hip", 1.3) else 0.01)


@pytest.mark.parametrize("joint", ["hip", "knee", "ankle", "elbow"])
def test_angles_repeat_every_cycle_and_stay_between_their_knots(joint):
    phase = np.linspace(0, 1, 500)
    knots = joint_knots(joint, 1.6)
    angles = through_knots(knots, phase)
    np.testing.assert_allclose(angles, through_knots(knots, phase + 3), atol=1e-9)
    assert min(y for _, y in knots) - 1e-9 <= angles.min() <= angles.max() <= max(y for _, y in knots) + 1e-9


def test_segments_keep_their_lengths_and_hang_together():
    phase = np.linspace(0, 2, 400)
    body = skeleton(AVERAGE, phase, phase * 2)
    assert len(body) == 16
    for name, share in {
        "right_thigh": 0.245,
        "left_shank": 0.246,
        "right_forearm": 0.152,
        "torso": 0.288,
    }.items():
        start, end = body[name]
        np.testing.assert_allclose(np.linalg.norm(end - start, axis=1), share * 1.75)
    np.testing.assert_array_equal(body["left_thigh"][1], body["left_shank"][0])
    np.testing.assert_array_equal(body["right_upper_arm"][1], body["right_forearm"][0])


def test_left_limbs_do_what_right_ones_did_half_a_cycle_before():
    phase = np.linspace(0, 1, 101)
    body, later = (skeleton(AVERAGE, phase + lag, np.zeros(101)) for lag in (0, 0.5))
    right, left = body["right_shank"], later["left_shank"]
    np.testing.assert_allclose(right[1][:, 0] - right[0][:, 0], left[1][:, 0] - left[0][:, 0], atol=1e-9)


def test_feet_rest_while_they_stand_and_swing_faster_than_the_body():
    time = np.linspace(0, AVERAGE.cycle, 2000, endpoint=False)
    body = skeleton(AVERAGE, time / AVERAGE.cycle, time * AVERAGE.speed)
    ankle = np.gradient(body["right_shank"][1][:, 0], time)
    assert ankle.mean() == pytest.approx(AVERAGE.speed, rel=0.05)
    standing = (time > 0.15 * AVERAGE.cycle) & (time < 0.4 * AVERAGE.cycle)
    assert np.abs(ankle[standing]).mean() < 0.4 * AVERAGE.speed
    assert 2.5 * AVERAGE.speed < ankle.max() < 4.5 * AVERAGE.speed


def test_speed_and_habits_of_a_walker():
    assert AVERAGE.speed == pytest.approx(1.3 * (0.245 + 0.246) * 1.75)
    brisk = Walker(1.75, 1.3, Habits(cadence=1.1) * Habits(cadence=1.1))
    assert brisk.cycle == pytest.approx(1.346 / np.sqrt(1.3) / 1.21)


def test_cross_section_of_a_sphere_and_of_an_ellipsoid_from_the_side():
    """A sphere shows pi r^2 from everywhere; broadside, pi c^2 for semi-axes a, a, c."""
    radar = np.array([10.0, 0.0, 0.0])
    sphere = gait.cross_section("head", np.array([[0, 0, -0.1]]), np.array([[0, 0, 0.1]]), radar)
    assert sphere == pytest.approx(np.pi * 0.01)
    side = gait.cross_section("upper_arm", np.array([[0, 0, -0.2]]), np.array([[0, 0, 0.2]]), radar)
    assert side == pytest.approx(np.pi * 0.04)


def test_trunk_moves_at_two_v_over_lambda():
    user = gait.make_user(np.random.default_rng(5))
    walker = user.walker
    length = 4 * gait.PULSE_RATE
    time = np.arange(length) / gait.PULSE_RATE
    body = skeleton(walker, time / walker.cycle, time * walker.speed)
    echoes = gait.echo(user, {"torso": body["torso"]}, aspect=0.0)
    spectrum = np.abs(np.fft.fft(echoes * np.hanning(length))) ** 2
    frequency = np.fft.fftfreq(length, 1 / gait.PULSE_RATE)
    mean = np.sum(frequency * spectrum) / spectrum.sum()
    assert mean == pytest.approx(2 * walker.speed / (299_792_458 / 24e9), rel=0.06)


def test_a_row_of_the_picture_is_a_step_of_doppler():
    """A tone of 10 bins lies in row 12 + 10 from below, one of -5 bins in row 12 - 5."""
    for bins in (10, -5):
        time = np.arange(gait.SEGMENT + 3 * gait.HOP)
        cells = gait.spectrogram(np.exp(2j * np.pi * bins * time / gait.SEGMENT))
        assert cells.shape == (64, 4)
        assert set(cells.argmax(axis=0)) == {12 + bins}


def test_noise_is_15_to_25_decibels_down():
    user = gait.make_user(np.random.default_rng(1))
    levels = []
    for seed in range(3):
        cells = gait.spectrogram(gait.walk_past(user, 64, np.random.default_rng(seed)))
        total = np.sum(np.mean(10 ** (cells / 10), axis=1))
        floor = np.median(10 ** (cells[-6:] / 10)) / np.log(2) * gait.SEGMENT
        levels.append(10 * np.log10(total / floor))
    assert all(13 < level < 27 for level in levels)


def test_jet_colours():
    colours = gait.jet(np.array([[0.0, 0.5, 1.0]]))
    np.testing.assert_array_equal(colours, [[[0, 0, 128], [128, 255, 128], [128, 0, 0]]])


def test_pictures_come_in_order_of_time_and_share_three_quarters():
    made = list(gait.pictures(0, "small", users=2))
    assert [p.path for p in made[:2]] == ["ID_1/0001.png", "ID_1/0002.png"]
    assert made[16].path == "ID_2/0001.png"
    first, second = made[0].pixels, made[1].pixels
    assert first.shape == (256, 256, 3)
    dark = np.array([0, 0, 128])
    agreement = (first[:, 64:] == dark).all(-1) == (second[:, :192] == dark).all(-1)
    assert agreement.mean() > 0.97  # up to the brightness of the brightest cell
    again = next(gait.pictures(0, "small", users=1))
    np.testing.assert_array_equal(first, again.pixels)


def test_users_can_be_told_apart():
    """The published separability of gait: over 90 % by a linear rule, on passes it has not seen."""
    users, passes, windows = 16, 5, 4
    features, labels, part = [], [], []
    for number in range(users):
        user = gait.make_user(np.random.default_rng((7, number)))
        for turn in range(passes):
            rng = np.random.default_rng((7, number, turn))
            cells = gait.spectrogram(gait.walk_past(user, gait.COLUMNS + gait.STEP * (windows - 1), rng))
            for index in range(windows):
                window = gait.scaled(cells[:, index * gait.STEP :][:, : gait.COLUMNS])
                features.append(np.abs(np.fft.rfft(window, axis=1))[:, :16].ravel())
                labels.append(number)
                part.append(turn)
    features, labels, seen = np.array(features), np.array(labels), np.array(part) < 4
    found = linear_rule(features[seen], labels[seen], features[~seen])
    assert np.mean(found == labels[~seen]) >= 0.9


def linear_rule(train, labels, test):
    """LDA with a covariance shrunk by .3 towards a multiple of the identity."""
    mean, deviation = train.mean(axis=0), train.std(axis=0) + 1e-9
    train, test = (train - mean) / deviation, (test - mean) / deviation
    centres = np.stack([train[labels == label].mean(axis=0) for label in np.unique(labels)])
    residual = train - centres[labels]
    covariance = 0.7 * residual.T @ residual / len(train)
    covariance[np.diag_indices_from(covariance)] += 0.3 * np.mean(residual**2)
    weights = np.linalg.solve(covariance, centres.T)
    return np.argmax(test @ weights - 0.5 * np.sum(centres.T * weights, axis=0), axis=1)
