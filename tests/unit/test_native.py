"""Generated windows as files: read back, they are what was generated."""

from fractions import Fraction

import numpy as np
import pytest

from anycodec.data.catalog import scan
from anycodec.data.split import Piece
from anycodec.io import formats
from anycodec.io.formats import open_file
from anycodec.types import FileInfo, Signal, SignalInfo
from anycodec.workflows.native import Named, NativeWriter, describe_native
from anycodec.workflows.samples import run as write_samples


def described(source, path):
    catalog = scan([path], source, open_file)
    entry = catalog.entries[0]
    return describe_native(Piece(entry, 0, entry.length), source)


def read_back(path):
    kind = formats.format_for(path)
    with open_file(path, formats.default_source(kind)) as reader:
        infos = list(reader.signals())
        return infos, [reader.fetch(n, 0, info.length) for n, info in enumerate(infos)]


def test_tables_keep_their_columns_and_every_digit(tmp_path):
    (tmp_path / "a.csv").write_text('date,"load, kW",oil\n2020-01-01,1.5,2\n2020-01-02,2.5,3.25\n')
    source = formats.default_source("table").model_copy(update={"channels": "joint"})
    writer = NativeWriter(described(source, tmp_path / "a.csv"))
    values = np.array([[0.1, 1e-9, -3.25], [7, 8, 9]], np.float32)
    (path,) = writer.write(tmp_path, [Named("x", values)], "g")
    (info,), (signal,) = read_back(path)
    assert info.channels == ("load, kW", "oil")
    assert np.array_equal(np.float32(signal.values.T), values)


def test_arrays_keep_their_type(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((40, 2), np.float16))
    source = formats.default_source("array")
    writer = NativeWriter(described(source, tmp_path / "a.npy"))
    (path,) = writer.write(tmp_path, [Named("x", np.full((1, 8), 0.5, np.float32))], "g")
    stored = np.load(path)
    assert (stored.dtype, stored.shape) == (np.dtype(np.float16), (8, 1))
    assert set(stored.flat) == {0.5}


def test_reads_share_a_file_and_the_calibration(tmp_path):
    pytest.importorskip("pod5")
    write_samples("nanopore", tmp_path / "data")
    source_file = min((tmp_path / "data").rglob("*.pod5"))
    native = described(formats.default_source("pod5"), source_file)
    current = [np.full((1, 500), level, np.float32) for level in (80.0, 95.5)]
    windows = [Named(str(number), values) for number, values in enumerate(current)]
    (path,) = NativeWriter(native).write(tmp_path, windows, "class")
    assert path.name == "class.pod5"
    infos, signals = read_back(path)
    assert len({info.id for info in infos}) == 2
    step = native["signal"]["calibration_scale"]
    for signal, level in zip(sorted(signals, key=lambda s: s.values[0, 0]), (80.0, 95.5), strict=True):
        np.testing.assert_allclose(signal.values, level, atol=step)


def test_clips_are_videos_of_the_same_speed(tmp_path):
    pytest.importorskip("av")
    info = SignalInfo(id="", axes="THWC", shape=(4, 16, 32, 3), dtype="uint8")
    meta = {"writer": "x264", "fps": [12, 1], "size": [16, 32], "even": True, "pixel_aspect": None}
    frames = np.full(info.shape, 90, np.uint8)
    file = FileInfo(path="a.mp4", format="video", n_signals=1, meta=meta)
    formats.write(tmp_path / "a.mp4", file, [Signal(info=info, values=frames)])
    writer = NativeWriter(described(formats.default_source("video"), tmp_path / "a.mp4"))
    clip = np.full((3, 8, 16, 32), 200.4, np.float32)
    (path,) = writer.write(tmp_path, [Named("clip", clip)], "g")
    (found,), (signal,) = read_back(path)
    assert (path.suffix, found.shape, Fraction(found.rate)) == (".mp4", (8, 16, 32, 3), 12)
    assert abs(signal.values.astype(int) - 200).max() <= 3
    (frame,) = writer.write(tmp_path, [Named("frame", clip[:, 0])], "g")
    assert frame.name == "frame.png"
