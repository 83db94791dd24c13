"""Errors near seams, against errors that were put there."""

import numpy as np
import pytest

from anycodec.metrics.seams import SeamErrors


def with_errors(shape, near, elsewhere, *regions):
    """Zeros, and values that are off by `elsewhere`, in these regions by `near`."""
    restored = np.full(shape, elsewhere, np.float32)
    for region in regions:
        restored[region] = near
    return np.zeros(shape, np.float32), restored


def test_error_twice_as_large_where_windows_meet():
    """Windows of 64: within two samples of 64 and 128; the ends of the signal are no seams."""
    errors = SeamErrors((64,), (0,))
    errors.update(*with_errors((192, 2), 2, 1, slice(62, 66), slice(126, 130)))
    assert errors.ratio == pytest.approx(2)
    errors.update(*with_errors((192, 2), 4, 2, slice(62, 66), slice(126, 130)))
    assert errors.ratio == pytest.approx(2)


def test_the_seam_of_overlapping_windows_is_in_the_middle_of_what_they_share():
    """Windows of 32 that share 8 begin at 0, 24, 48: they meet at 28, then at 52."""
    errors = SeamErrors((32,), (8,))
    errors.update(*with_errors((80, 1), 3, 1, slice(27, 29), slice(51, 53)))
    assert errors.ratio == pytest.approx(3)


def test_tiles_of_pictures_meet_along_both_axes():
    errors = SeamErrors((8, 8), (0, 0))
    across, down = (slice(None), slice(None), slice(7, 9)), (slice(None), slice(7, 9))
    errors.update(*with_errors((3, 16, 16, 1), 5, 1, across, down))
    assert errors.ratio == pytest.approx(5)


def test_missing_values_do_not_count():
    original, restored = with_errors((128, 1), 1, 1, slice(0, 0))
    original[63] = np.nan
    mask = np.isfinite(original)
    errors = SeamErrors((64,), (0,))
    errors.update(original, restored, mask)
    assert errors.ratio == pytest.approx(1)


@pytest.mark.parametrize("length", [0, 1, 64])
def test_one_window_has_no_seam(length):
    errors = SeamErrors((64,), (0,))
    errors.update(*with_errors((length, 1), 1, 1))
    assert errors.ratio is None


def test_without_error_there_is_no_ratio():
    errors = SeamErrors((8,), (0,))
    errors.update(np.zeros((64, 1)), np.zeros((64, 1)))
    assert errors.ratio is None
