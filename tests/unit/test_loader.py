import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from npy_files import open_npy, save

from anycodec.config.data import (
    ArraySource,
    ImageSource,
    MedianMadSpec,
    Pod5Source,
    RevinSpec,
    StandardSpec,
    TimeSplit,
    VideoSource,
    Window1d,
    Window2d,
    WindowClip,
)
from anycodec.config.run import RunSpec
from anycodec.data import dataset as dataset_module
from anycodec.data import window as window_module
from anycodec.data.catalog import scan
from anycodec.data.loader import WindowDataset, open_data
from anycodec.data.normalize import make_normalizer
from anycodec.data.readers import MOST_OPEN, Readers
from anycodec.data.split import Piece, make_split
from anycodec.errors import DataError

PLAIN = {"type": "fixed", "low": -1, "high": 1}
"""A normalizer that changes nothing."""


def dataset(folder: Path, source, training=True, seed=0, **kwargs) -> WindowDataset:
    catalog = scan(sorted(folder.rglob("*.npy")), source, open_npy)
    pieces = [Piece(entry, 0, entry.length) for entry in catalog.entries]
    normalizer = make_normalizer(source.normalizer)
    return WindowDataset(pieces, source, normalizer, open_npy, training=training, seed=seed, **kwargs)


def ramp(n: int, channels: int = 1) -> np.ndarray:
    """Sample t of channel c is 1000 c + t."""
    return np.float32(np.arange(n)[:, None] + 1000 * np.arange(channels))


def series(samples=10, **kwargs) -> ArraySource:
    return ArraySource(**{"window": Window1d(samples=samples), "normalizer": PLAIN, **kwargs})


def test_the_validation_grid_covers_whole_windows_once(tmp_path):
    save(tmp_path / "a.npy", ramp(35))
    data = dataset(tmp_path, series(), training=False)
    items = [data.item(0, i) for i in range(len(data))]
    assert [item.shape for item in items] == [(1, 1, 10)] * 3
    assert [item[0, 0, 0] for item in items] == [0, 10, 20]
    assert all(np.array_equal(data.item(7, i), items[i]) for i in range(3))


def test_independent_channels_are_items_of_their_own(tmp_path):
    save(tmp_path / "a.npy", ramp(20, 3))
    data = dataset(tmp_path, series(channels="independent"), training=False)
    assert [int(data.item(0, i)[0, 0, 0]) for i in range(len(data))] == [0, 1000, 2000, 10, 1010, 2010]


def test_joint_channels_stay_together(tmp_path):
    save(tmp_path / "a.npy", ramp(20, 3))
    item = dataset(tmp_path, series(channels="joint")).item(0, 0)
    assert item.shape == (1, 3, 10)
    assert np.array_equal(item[0, 1] - item[0, 0], np.full(10, 1000))


def test_training_crops_reach_every_sample_and_only_the_piece(tmp_path):
    save(tmp_path / "a.npy", ramp(40))
    source = series()
    (entry,) = scan([tmp_path / "a.npy"], source, open_npy).entries
    data = WindowDataset(
        [Piece(entry, 5, 30)], source, make_normalizer(source.normalizer), open_npy, training=True, seed=0
    )
    crops = np.concatenate([data.item(epoch, 0)[:, 0] for epoch in range(300)])
    assert set(crops[:, 0].astype(int)) == set(range(5, 21))
    assert np.array_equal(crops, crops[:, :1] + np.arange(10))


def test_items_are_proportional_to_length(tmp_path):
    save(tmp_path / "a.npy", ramp(100))
    save(tmp_path / "b.npy", ramp(305))
    save(tmp_path / "c.npy", ramp(3))
    assert len(dataset(tmp_path, series())) == 10 + 30 + 1


def test_a_short_signal_is_padded(tmp_path):
    save(tmp_path / "a.npy", ramp(3))
    assert dataset(tmp_path, series(5)).item(4, 0).tolist() == [[[0, 1, 2, 2, 2]]]


def test_items_are_decided_by_seed_epoch_and_index(tmp_path):
    save(tmp_path / "a.npy", ramp(1000))
    one, same, other = (dataset(tmp_path, series(), seed=seed) for seed in (1, 1, 2))
    keys = [(epoch, index) for epoch in range(3) for index in range(20)]
    crops = [one.item(*key).tobytes() for key in keys]
    assert [same.item(*key).tobytes() for key in reversed(keys)] == crops[::-1]
    assert len(set(crops)) > 50
    assert [other.item(*key).tobytes() for key in keys] != crops
    assert np.array_equal(one.epoch_order(3), same.epoch_order(3))


@given(guard=st.integers(0, 40), window=st.integers(1, 50), seed=st.integers(0, 5))
def test_no_evaluated_sample_lies_within_the_guard_of_training(tmp_path_factory, guard, window, seed):
    folder = tmp_path_factory.mktemp("leak")
    save(folder / "a.npy", ramp(400))
    source = series(window, split=TimeSplit(ratios=(0.6, 0.2, 0.2), guard=guard))
    split = make_split(scan([folder / "a.npy"], source, open_npy), source)
    seen = []
    for pieces, training in ((split.train, True), (split.val, False), (split.test, False)):
        data = WindowDataset(
            pieces, source, make_normalizer(source.normalizer), open_npy, training=training, seed=seed
        )
        items = [data.item(epoch, i) for epoch in range(5) for i in range(len(data))]
        seen.append((min(i.min() for i in items), max(i.max() for i in items)))
    (_, train_end), (val_start, val_end), (test_start, _) = seen
    assert val_start - train_end > guard
    assert test_start - val_end > guard


def test_pictures_are_cropped_inside_and_replicated_to_colour(tmp_path):
    picture = np.arange(30 * 40, dtype=np.int32).reshape(30, 40, 1)
    save(tmp_path / "a.npy", picture)
    source = ImageSource(window=Window2d(size=(8, 16)), normalizer=PLAIN, mode="rgb")
    data = dataset(tmp_path, source)
    assert len(data) == 3 * 2
    for index in range(len(data)):
        item = data.item(0, index)
        assert item.shape == (1, 3, 8, 16)
        row, column = divmod(int(item[0, 0, 0, 0]), 40)
        assert np.array_equal(item[0, 2], picture[row : row + 8, column : column + 16, 0])


def test_a_clip_is_consecutive_frames_of_one_tile(tmp_path):
    frame, row, column = np.meshgrid(np.arange(9), np.arange(10), np.arange(12), indexing="ij")
    save(tmp_path / "a.npy", np.float32(frame * 10_000 + row * 100 + column)[..., None].repeat(3, -1))
    source = VideoSource(window=WindowClip(size=(4, 6), frames=3), normalizer=PLAIN)
    for training in (True, False):
        data = dataset(tmp_path, source, training=training)
        assert len(data) == 3 * 2 * 2
        item = data.item(1, 5)
        assert item.shape == (3, 3, 4, 6)
        assert np.array_equal(np.diff(item, axis=0), np.full((2, 3, 4, 6), 10_000))
        assert np.array_equal(np.diff(item, axis=3), np.ones((3, 3, 4, 5)))


def test_a_short_video_repeats_its_last_frame(tmp_path):
    save(tmp_path / "a.npy", np.float32(np.arange(2)[:, None, None, None] * np.ones((4, 4, 3))))
    source = VideoSource(window=WindowClip(size=(4, 4), frames=4), normalizer=PLAIN)
    assert dataset(tmp_path, source).item(0, 0)[:, 0, 0, 0].tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("held", [True, False])
def test_a_read_is_normalised_like_compression_does(tmp_path, monkeypatch, held):
    """Median and MAD of the segment (here of 40 samples) that the crop begins in."""
    monkeypatch.setattr(window_module, "BLOCK_SAMPLES", 40)
    monkeypatch.setattr(dataset_module, "HELD_VALUES", 10**6 if held else 0)
    values = np.random.default_rng(0).gamma(2, 20, (100, 1)).astype(np.float32)
    save(tmp_path / "a.npy", values)
    source = Pod5Source(window=Window1d(samples=10), normalizer=MedianMadSpec())
    data = dataset(tmp_path, source, training=False)
    for index in (0, 3, 4, 9):
        segment = values[index // 4 * 40 :][:40]
        scale = 1.4826 * np.median(np.abs(segment - np.median(segment)))
        expected = (values[index * 10 : index * 10 + 10, 0] - np.median(segment)) / scale
        np.testing.assert_allclose(data.item(0, index)[0, 0], expected, rtol=1e-5, atol=1e-6)


def test_each_independent_channel_has_its_own_statistics(tmp_path):
    values = np.random.default_rng(0).normal([0, 500], [1, 30], (200, 2)).astype(np.float32)
    save(tmp_path / "a.npy", values)
    for spec in (MedianMadSpec(), RevinSpec(), StandardSpec()):
        source = series(100, normalizer=spec, channels="independent")
        data = dataset(tmp_path, source, training=False)
        fitted = make_normalizer(spec).fit(data.segments())
        data = WindowDataset(data.pieces, source, fitted, open_npy, training=False, seed=0)
        items = [data.item(0, i) for i in range(4)]
        assert all(abs(item.mean()) < 0.5 and 0.5 < item.std() < 2 for item in items)


def test_an_epoch_takes_some_files(tmp_path):
    for name in "abcdef":
        save(tmp_path / f"{name}.npy", ramp(50) + 1000 * ord(name))
    data = dataset(tmp_path, series(files_per_epoch=2))
    assert len(data) == 10
    drawn = [{int(data.item(e, i)[0, 0, 0]) // 1000 for i in data.epoch_order(e)} for e in range(20)]
    assert {len(files) for files in drawn} == {2}
    assert len(set.union(*drawn)) == 6


def test_a_damaged_file_is_passed_over_or_refused(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.npy", ramp(10))
    data, strict = dataset(tmp_path, series()), dataset(tmp_path, series(on_error="refuse"))
    (tmp_path / "a.npy").write_bytes(b"gone bad")
    assert np.array_equal(data.item(0, 0), ramp(10).T[None])
    with pytest.raises(DataError, match="not an array"):
        strict.item(0, 0)


def _items(data: WindowDataset, keys) -> list[bytes]:
    return [data.item(*key).tobytes() for key in keys]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_give_the_same_items(tmp_path, monkeypatch, method):
    monkeypatch.setattr(dataset_module, "HELD_VALUES", 0)
    save(tmp_path / "a.npy", ramp(1000))
    data = dataset(tmp_path, Pod5Source(window=Window1d(samples=10), normalizer=MedianMadSpec()))
    keys = [(0, 3), (2, 70)]
    expected = _items(data, keys)  # opens the file here before the other process does
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(_items, (data, keys)) == expected
    assert _items(data, keys) == expected


def test_what_was_read_is_not_pickled(tmp_path):
    save(tmp_path / "a.npy", np.zeros((200_000, 1), np.float32))
    data = dataset(tmp_path, series())
    data.item(0, 0)
    assert len(pickle.dumps(data)) < 20_000


def test_few_files_are_open_at_once(tmp_path):
    opened = []

    def tracked(path, source):
        opened.append(open_npy(path, source))
        return opened[-1]

    readers = Readers(series(), tracked)
    names = [str(save(tmp_path / f"{i}.npy", ramp(5))) for i in range(MOST_OPEN + 5)]
    for name in names:
        readers.fetch(name, 0, 0, 5)
        assert sum(not reader.closed for reader in opened) <= MOST_OPEN
    readers.fetch(names[-1], 0, 0, 5)
    assert len(opened) == len(names)
    readers.close()
    assert all(reader.closed for reader in opened)


def run_spec(root: Path, **data) -> RunSpec:
    source = {"type": "array", "root": str(root), "window": {"samples": 24}} | data
    return RunSpec.model_validate({"data": source, "codec": {"type": "simvqgan"}, "seed": 3})


def test_open_data_prepares_everything(tmp_path):
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(5, 2, (800, 2)), random.normal(99, 50, (200, 2))]).astype(
        np.float32
    )
    save(tmp_path / "a.npy", values)
    (tmp_path / "notes.txt").write_text("no data")
    data = open_data(run_spec(tmp_path))
    arrays = data.normalizer.to_arrays()
    np.testing.assert_allclose(arrays["normalizer.shift"], values[:800].mean(axis=0)[None], rtol=1e-5)
    np.testing.assert_allclose(arrays["normalizer.scale"], values[:800].std(axis=0)[None], rtol=1e-5)
    assert data.in_channels == 1
    assert data.counts == {"files": 1, "signals": 1, "train_windows": 66, "val_windows": 8,
                           "test_windows": 8, "left_out": 1}  # fmt: skip
    assert data.train.item(0, 0).shape == (1, 1, 24)
    assert data.skipped[0].path.endswith("notes.txt")


def test_open_data_counts_joint_channels(tmp_path):
    save(tmp_path / "a.npy", ramp(500, 5))
    assert open_data(run_spec(tmp_path, channels="joint")).in_channels == 5


def test_open_data_names_what_it_could_not_use(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY but nothing more")
    with pytest.raises(DataError, match=r"no usable array data.*a\.npy"):
        open_data(run_spec(tmp_path))


def test_open_data_needs_validation(tmp_path):
    save(tmp_path / "a.npy", ramp(500))
    with pytest.raises(DataError, match="nothing for validation"):
        open_data(run_spec(tmp_path, split={"type": "time", "ratios": [1, 0, 0]}))


def test_the_order_of_an_epoch_is_decided_by_the_seed_of_the_run(tmp_path):
    save(tmp_path / "a.npy", ramp(2000))
    one, two = open_data(run_spec(tmp_path)), open_data(run_spec(tmp_path))
    assert np.array_equal(one.train.epoch_order(5), two.train.epoch_order(5))
    assert one.fingerprint == two.fingerprint


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "rows_per_hour"), [("ETTh1", 1), ("ETTm1", 4)])
def test_the_ett_tables_are_split_and_scaled_as_published(real_data, name, rows_per_hour):
    data = open_data(
        run_spec(
            real_data / "series" / f"{name}.csv",
            type="table",
            window={"samples": 96},
            split={"type": "ett", "rows_per_hour": rows_per_hour},
        )
    )
    (train,), (val,), (test,) = data.train.pieces, data.val.pieces, data.test.pieces
    assert (train.length, val.length - 96, test.length - 96) == tuple(
        r * rows_per_hour for r in (8640, 2880, 2880)
    )
    table = np.genfromtxt(real_data / "series" / f"{name}.csv", delimiter=",", skip_header=1)[:, 1:]
    rows = table[: 8640 * rows_per_hour]
    np.testing.assert_allclose(data.normalizer.to_arrays()["normalizer.shift"][0], rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(data.normalizer.to_arrays()["normalizer.scale"][0], rows.std(0), rtol=1e-5)
    assert len(data.train) == 7 * (8640 * rows_per_hour // 96)


@pytest.mark.realdata
def test_real_reads_become_normalised_windows(real_data):
    root = real_data / "nanopore" / "r941_prom_squigualiser.pod5"
    data = open_data(run_spec(root, type="pod5", window={"samples": 4096}))
    assert data.counts["signals"] == 40
    windows = np.concatenate([data.train.item(0, int(i)) for i in data.train.epoch_order(0)[:32]])
    assert windows.shape == (32, 1, 4096)
    assert abs(np.median(windows)) < 0.3
    assert 0.5 < windows.std() < 3
