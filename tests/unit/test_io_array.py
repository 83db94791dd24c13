from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anycodec.config.data import ArraySource
from anycodec.errors import DataError
from anycodec.io.formats import open_file, read, write
from anycodec.io.values import cast, fill_gaps, restore_gaps


def restore(path: Path, source: ArraySource, block: int = 4) -> Path:
    target = path.with_name(f"restored_{path.name}")
    with open_file(path, source) as reader:
        write(target, reader.info, reader.segments(block))
    return target


@pytest.mark.parametrize(("layout", "shape"), [("t", (11,)), ("tc", (11, 2)), ("nct", (3, 2, 11))])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "|u1", "|b1"])
def test_npy_comes_back_equal(layout: str, shape: tuple[int, ...], dtype: str, tmp_path: Path) -> None:
    array = (np.random.default_rng(0).normal(size=shape) * 30).astype(dtype)
    if array.dtype.kind == "f":
        array.flat[:3] = np.inf, -np.inf, np.nan
    np.save(tmp_path / "a.npy", array)
    restored = np.load(restore(tmp_path / "a.npy", ArraySource(layout=layout)))
    assert restored.dtype == array.dtype
    np.testing.assert_array_equal(restored, array)


def test_layouts_give_samples_by_channels(tmp_path: Path) -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    np.save(tmp_path / "a.npy", array)
    signals = list(read(tmp_path / "a.npy", ArraySource(layout="nct", sample_rate=50), 100))
    np.testing.assert_array_equal([s.values for s in signals], array.transpose(0, 2, 1))
    assert [(s.info.id, s.info.rate) for s in signals] == [("0", 50), ("1", 50)]


def test_npz_keeps_its_keys(tmp_path: Path) -> None:
    arrays = {"left": np.arange(6.0), "right": np.arange(4, dtype=np.int16)}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    source = ArraySource(layout="t")
    assert [s.info.id for s in read(tmp_path / "a.npz", source, 100)] == ["left", "right"]
    restored = np.load(restore(tmp_path / "a.npz", source))
    assert restored.files == list(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(restored[key], array)
        assert restored[key].dtype == array.dtype


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}, None], object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", x=np.array([{}, None], object))
    for name in ("a.npy", "b.npz"):
        with pytest.raises(DataError, match=name):
            open_file(tmp_path / name, ArraySource(layout="t"))


def test_a_wrong_layout_names_both_sides(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"2 axes, \[2, 3\].*'nct' means 3") as caught:
        open_file(tmp_path / "a.npy", ArraySource(layout="nct"))
    assert "data.layout" in str(caught.value.how)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3), complex))
    with pytest.raises(DataError, match="complex128"):
        open_file(tmp_path / "a.npy", ArraySource())


def test_gaps_take_the_value_before_or_else_after_or_else_zero() -> None:
    nan, inf = np.nan, np.inf
    values = np.array([[nan, nan], [1, nan], [inf, nan], [nan, nan], [2, nan]])
    filled, mask, attachments = fill_gaps(values)
    np.testing.assert_array_equal(filled, [[1, 0], [1, 0], [1, 0], [1, 0], [2, 0]])
    assert mask is not None
    np.testing.assert_array_equal(mask, np.isfinite(values))
    np.testing.assert_array_equal(restore_gaps(filled, mask, attachments), values)


@given(hnp.arrays(hnp.floating_dtypes(endianness="="), hnp.array_shapes(min_dims=2, max_dims=2, min_side=0)))
def test_filling_and_restoring_gaps_is_the_identity(values: np.ndarray) -> None:
    filled, mask, attachments = fill_gaps(values)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(restore_gaps(filled, mask, attachments), values)


@given(hnp.integer_dtypes(endianness="="), st.floats(allow_nan=False, allow_infinity=False))
def test_integers_are_rounded_and_kept_in_range(dtype: np.dtype, value: float) -> None:
    limits = np.iinfo(dtype)
    expected = min(max(round(value), limits.min), limits.max)
    assert int(cast(np.array([value]), dtype)[0]) == expected
