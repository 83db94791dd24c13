import numpy as np
import pytest

from anycodec.errors import DataError
from anycodec.io.base import Reader
from anycodec.metrics import compare as module
from anycodec.metrics.compare import compare
from anycodec.types import FileInfo, Signal, SignalInfo


class ArrayReader(Reader):
    """An open file made of arrays, that counts what it hands out."""

    def __init__(self, axes, arrays, value_range=None):
        self.info = FileInfo(path="memory", format="array", n_signals=len(arrays))
        self.largest = 0
        self._arrays = list(arrays.values())
        self._infos = [
            SignalInfo(id=name, axes=axes, shape=a.shape, dtype=str(a.dtype), value_range=value_range)
            for name, a in arrays.items()
        ]

    def signals(self):
        yield from self._infos

    def segments(self, block):
        raise NotImplementedError

    def fetch(self, index, start, stop):
        info, values = self._infos[index], self._arrays[index]
        values = values if info.axes == "HWC" else values[start:stop]
        self.largest = max(self.largest, len(values))
        mask = ~np.isnan(values) if values.dtype.kind == "f" else None
        return Signal(info=info, values=np.nan_to_num(values), start=start, mask=mask)

    def close(self):
        pass


def test_signals_are_paired_by_id_in_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", {"TC": 100})
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(250, 2)), rng.normal(size=(70, 2))
    original = ArrayReader("TC", {"a": a, "b": b, "gone": b})
    restored = ArrayReader("TC", {"b": b, "new": b, "a": a + 0.5})
    result = compare(original, restored)
    assert result.signals["a"].rmse == pytest.approx(0.5)
    assert result.signals["b"].rmse == 0
    assert result.pooled.n == 640
    assert result.pooled.rmse == pytest.approx(np.sqrt(0.25 * 500 / 640))
    assert (result.missing, result.added, result.image) == (("gone",), ("new",), None)
    assert original.largest == 100


def test_missing_values_are_left_out():
    values = np.array([[1.0], [np.nan], [3.0]])
    result = compare(
        ArrayReader("TC", {"": values}), ArrayReader("TC", {"": np.array([[1.0], [9.0], [3.0]])})
    )
    assert (result.pooled.n, result.pooled.rmse) == (2, 0)


def test_video_frames_have_psnr_and_ssim():
    video = np.random.default_rng(1).integers(0, 200, (20, 16, 16, 3)).astype(np.uint8)
    readers = [ArrayReader("THWC", {"": v}, (0, 255)) for v in (video, video + 1)]
    result = compare(*readers)
    assert result.image is not None
    assert result.image.n == 20
    assert result.image.psnr == pytest.approx(48.1308, abs=1e-4)
    assert readers[0].largest <= 8


@pytest.mark.parametrize("length", [80, 100, 200, 201, 401])
def test_other_length_is_an_error(monkeypatch, length):
    monkeypatch.setattr(module, "BLOCK", {"TC": 100})
    with pytest.raises(DataError, match="restored"):
        compare(ArrayReader("TC", {"r": np.zeros((300, 1))}), ArrayReader("TC", {"r": np.zeros((length, 1))}))


def test_other_channels_are_an_error():
    with pytest.raises(DataError, match="2 channels"):
        compare(ArrayReader("TC", {"r": np.zeros((3, 2))}), ArrayReader("TC", {"r": np.zeros((3, 1))}))


def test_pictures_without_range_are_an_error():
    reader = ArrayReader("HWC", {"": np.zeros((3, 3, 1))})
    with pytest.raises(DataError, match="range"):
        compare(reader, reader)
