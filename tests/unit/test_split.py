import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from npy_files import open_npy, save

from anycodec.config.data import (
    ArraySource,
    ClassSplit,
    EttSplit,
    FileSplit,
    ImageSource,
    ManifestSplit,
    SignalSplit,
    TimeSplit,
    Window1d,
)
from anycodec.data.catalog import Catalog, Entry, scan
from anycodec.data.loader import find_signals
from anycodec.data.manifest import Manifest, read_manifest, row, write_manifest
from anycodec.data.split import apportion, blocks, make_split
from anycodec.errors import DataError, UserError
from anycodec.workflows import split as workflow

RATIOS = (0.8, 0.1, 0.1)
ratios = st.tuples(st.floats(0.05, 1), st.floats(0, 1), st.floats(0, 1)).map(
    lambda shares: tuple(share / sum(shares) for share in shares)
)


def series(*lengths: int, path: str = "a.npy") -> Catalog:
    return Catalog(tuple(Entry(path, i, f"r{i}", "TC", (n, 1), None) for i, n in enumerate(lengths)), ())


def pictures(*names: str) -> Catalog:
    return Catalog(tuple(Entry(n, 0, "", "HWC", (8, 8, 3), n.rpartition("/")[0] or None) for n in names), ())


def array(split) -> ArraySource:
    return ArraySource(window=Window1d(samples=512), split=split)


def ranges(pieces):
    return [(piece.start, piece.stop) for piece in pieces]


@given(total=st.integers(0, 200), shares=ratios)
def test_apportion_gives_each_share_something(total, shares):
    counts = apportion(total, shares)
    assert sum(counts) == total
    wanted = [share > 0 for share in shares]
    assert all(want or not count for want, count in zip(wanted, counts, strict=True))
    if total >= sum(wanted):
        assert all(count or not want for want, count in zip(wanted, counts, strict=True))
    elif total:
        assert counts[0]
    for count, share in zip(counts, shares, strict=True):
        assert abs(count - total * share) <= 2.5


@given(total=st.integers(1, 3000), shares=ratios, guard=st.integers(0, 300))
def test_blocks_are_in_order_and_a_guard_apart(total, shares, guard):
    filled = [(start, stop) for start, stop in blocks(total, shares, guard) if stop > start]
    assert filled[0][0] == 0
    assert filled[-1][1] <= total
    for (_, stop), (start, _) in pairwise(filled):
        assert start - stop == guard


def test_time_cuts_within_each_signal():
    split = make_split(series(1000, 2000), array(TimeSplit(ratios=RATIOS)))
    assert ranges(split.train) == [(0, 800), (0, 1600)]
    assert ranges(split.val) == [(800, 900), (1600, 1800)]
    assert ranges(split.test) == [(900, 1000), (1800, 2000)]


def test_time_takes_consecutive_pictures_of_each_class_in_natural_order():
    names = [f"{label}/{i}.png" for label in ("ID_1", "ID_2") for i in (10, 9, 2, 1, 3, 4, 5, 6, 7, 8)]
    split = make_split(pictures(*names), ImageSource(split=TimeSplit(ratios=(0.5, 0.2, 0.3), guard=1)))
    one = [[p.path for p in part if p.label == "ID_1"] for part in (split.train, split.val, split.test)]
    assert one == [
        ["ID_1/1.png", "ID_1/2.png", "ID_1/3.png", "ID_1/4.png"],
        ["ID_1/6.png", "ID_1/7.png"],
        ["ID_1/9.png", "ID_1/10.png"],
    ]
    assert {p.label for p in split.test} == {"ID_1", "ID_2"}


def test_files_stay_whole_and_all_are_used():
    entries = tuple(Entry(f"{f}.npy", i, "", "TC", (9, 1), None) for f in range(10) for i in range(3))
    split = make_split(Catalog(entries, ()), array(FileSplit(ratios=RATIOS, seed=4)))
    files = [{p.path for p in part} for part in (split.train, split.val, split.test)]
    assert [len(part) for part in files] == [8, 1, 1]
    assert len(set.union(*files)) == 10
    assert sum(map(len, (split.train, split.val, split.test))) == 30


@pytest.mark.parametrize("kind", [FileSplit, SignalSplit])
def test_a_shuffle_is_decided_by_its_seed(kind):
    entries = tuple(Entry(f"{f}.npy", 0, "", "TC", (9, 1), None) for f in range(30))

    def train(seed):
        return make_split(Catalog(entries, ()), array(kind(seed=seed))).train

    assert train(1) == train(1) != train(2)


def test_two_files_still_give_validation():
    split = make_split(pictures("a.png", "b.png"), ImageSource(split=FileSplit()))
    assert [len(split.train), len(split.val), len(split.test)] == [1, 1, 0]


def test_test_classes_are_never_seen():
    names = [f"ID_{c}/{i}.png" for c in range(10) for i in range(4)]
    split = make_split(pictures(*names), ImageSource(split=ClassSplit(ratios=(0.6, 0.2, 0.2))))
    labels = [{p.label for p in part} for part in (split.train, split.val, split.test)]
    assert [len(part) for part in labels] == [6, 2, 2]
    assert not labels[0] & labels[2]
    assert not labels[0] & labels[1]


def test_a_picture_without_class_is_named():
    with pytest.raises(DataError, match="no class") as caught:
        make_split(pictures("ID_1/a.png", "b.png"), ImageSource(split=ClassSplit()))
    assert caught.value.where == "b.png"


@pytest.mark.parametrize("kind", [FileSplit, SignalSplit])
def test_a_single_signal_is_better_cut_in_time(kind):
    with pytest.raises(DataError) as caught:
        make_split(series(1000), array(kind()))
    assert "data.split.type=time" in str(caught.value.how)


@pytest.mark.parametrize(("rows_per_hour", "rows"), [(1, (8640, 2880, 2880)), (4, (34560, 11520, 11520))])
def test_ett_has_its_published_row_counts(rows_per_hour, rows):
    split = make_split(series(rows_per_hour * 17420), array(EttSplit(rows_per_hour=rows_per_hour)))
    train, val, test = (part[0] for part in (split.train, split.val, split.test))
    assert (train.length, val.length - 512, test.length - 512) == rows
    assert val.start == train.stop - 512
    assert test.start == val.stop - 512


def test_ett_refuses_a_short_table():
    with pytest.raises(DataError, match=r"needs 57600 rows, the file has 17420"):
        make_split(series(17420), array(EttSplit(rows_per_hour=4)))


@pytest.fixture
def folder(tmp_path):
    for name in ("ID_1/1", "ID_1/2", "ID_2/1", "ID_2/2"):
        save(tmp_path / "data" / f"{name}.npy", np.zeros((100, 2), np.float32))
    return tmp_path / "data"


def found(folder) -> Catalog:
    return scan(sorted(folder.rglob("*.npy")), array(TimeSplit()), open_npy)


def written(folder, path, **changes):
    split = make_split(found(folder), array(TimeSplit(guard=5)))
    rows = {part: tuple(row(p.entry, p.start, p.stop, folder) for p in getattr(split, part))
            for part in ("train", "val", "test")}  # fmt: skip
    write_manifest(
        path, Manifest(type="array", by="time", ratios=RATIOS, guard=5, seed=0, **(rows | changes))
    )
    return split


def read(folder, path, on_error="refuse"):
    source = ArraySource(root=folder, split=ManifestSplit(path=path), on_error=on_error)
    return make_split(found(folder), source)


def test_a_manifest_gives_the_same_split_after_the_data_moved(folder, tmp_path):
    path = tmp_path / "split.json"
    split = written(folder, path)
    assert str(tmp_path) not in path.read_text()
    folder = folder.rename(tmp_path / "moved")
    again = read(folder, path)
    for part in ("train", "val", "test"):
        assert ranges(getattr(again, part)) == ranges(getattr(split, part))
    assert [p.label for p in again.train] == ["ID_1", "ID_1", "ID_2", "ID_2"]


@pytest.mark.parametrize(
    "foreign",
    [("../../etc/passwd", 0, "", 0, 1), ("/etc/passwd", 0, "", 0, 1), ("ID_1/1.npy", 7, "1", 0, 9),
     ("ID_1/1.npy", 0, "other", 0, 9), ("ID_1/1.npy", 0, "1", 50, 101), ("ID_1/1.npy", 0, "1", 9, 9)],
)  # fmt: skip
def test_rows_that_fit_nothing_are_refused_or_reported(folder, tmp_path, foreign):
    written(folder, tmp_path / "split.json", val=(foreign,))
    with pytest.raises(DataError, match="1 lines of the manifest"):
        read(folder, tmp_path / "split.json")
    split = read(folder, tmp_path / "split.json", on_error="skip")
    assert split.val == ()
    assert [skipped.path for skipped in split.skipped] == [foreign[0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "not a manifest"), ("[]", "not a manifest"), ("[" * 100_000, "not a manifest"),
     ('{"format": "anycodec split", "version": 2}', "version 2"), ('{"version": 1}', "not a manifest"),
     (json.dumps({"format": "anycodec split", "version": 1, "type": "array", "by": "time", "ratios": RATIOS,
                  "guard": 0, "seed": 0, "train": [["a", -1, "", 0, 1]], "val": [], "test": []}),
      r"train\.0\.1")],
)  # fmt: skip
def test_a_foreign_manifest_is_refused(tmp_path, content, message):
    path = tmp_path / "split.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_manifest(path)


def test_a_missing_manifest_says_how_to_write_one(tmp_path):
    with pytest.raises(DataError) as caught:
        read_manifest(tmp_path / "split.json")
    assert "anycodec split" in str(caught.value.how)


def test_scan_leaves_out_what_cannot_be_used(tmp_path):
    save(tmp_path / "good@4000.npy", np.zeros((10, 1)))
    save(tmp_path / "slow@3000.npy", np.zeros((10, 1)))
    save(tmp_path / "empty.npy", np.zeros((0, 1)))
    (tmp_path / "text.npy").write_text("no array")
    files = sorted(tmp_path.glob("*.npy"))
    catalog = scan(files, ArraySource(sample_rate=4000), open_npy)
    assert [entry.id for entry in catalog.entries] == ["good@4000"]
    reasons = {skipped.path.rpartition("/")[2]: skipped.reason for skipped in catalog.skipped}
    assert set(reasons) == {"slow@3000.npy", "empty.npy", "text.npy"}
    assert "3000 Hz" in reasons["slow@3000.npy"]
    with pytest.raises(DataError, match="not an array"):
        scan(files, ArraySource(on_error="refuse"), open_npy)


def test_scan_names_files_with_other_columns(tmp_path):
    for name, columns in (("a", 3), ("b", 2), ("c", 3)):
        save(tmp_path / f"{name}.npy", np.zeros((10, columns)))
    files = sorted(tmp_path.glob("*.npy"))
    joint = scan(files, ArraySource(channels="joint"), open_npy)
    assert [entry.id for entry in joint.entries] == ["a", "c"]
    assert joint.skipped[0].path.endswith("b.npy")
    assert "2 channels, most others have 3" in joint.skipped[0].reason
    independent = ArraySource(channels="independent", normalizer={"type": "revin"})
    assert len(scan(files, independent, open_npy).entries) == 3


def test_scan_keeps_grey_pictures_for_a_colour_codec(tmp_path):
    for name, channels in (("grey", 1), ("colour", 3)):
        save(tmp_path / f"{name}.npy", np.zeros((4, 4, channels), np.uint8))
    files = sorted(tmp_path.glob("*.npy"))
    assert len(scan(files, ImageSource(mode="rgb"), open_npy).entries) == 2
    grey = scan(files, ImageSource(mode="grey"), open_npy)
    assert [entry.id for entry in grey.entries] == ["grey"]
    assert "codec takes 1" in grey.skipped[0].reason


def test_the_fingerprint_tells_data_apart_and_survives_a_move(folder, tmp_path):
    before = found(folder).fingerprint(folder)
    folder = folder.rename(tmp_path / "moved")
    assert found(folder).fingerprint(folder) == before
    save(folder / "ID_1" / "1.npy", np.zeros((101, 2), np.float32))
    assert found(folder).fingerprint(folder) != before


def run_split(root, out, *, by="time", guard=0, ratios=RATIOS, type=None):  # noqa: A002
    return workflow.run(root=root, by=by, ratios=ratios, guard=guard, seed=0, out=out, type=type)


def test_the_workflow_writes_what_training_reads(folder, tmp_path, capsys):
    out = tmp_path / "split.json"
    assert run_split(folder, out, guard=10, ratios=(0.6, 0.2, 0.2)) == 0
    source = ArraySource(root=folder, split=ManifestSplit(path=out))
    split = make_split(find_signals(source), source)
    assert ranges(split.train) == [(0, 48)] * 4
    assert ranges(split.val) == [(58, 74)] * 4
    assert ranges(split.test) == [(84, 100)] * 4
    assert "ID_2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"by": "colour"}, "one of time, file, signal, class"), ({"type": "tape"}, "one of pod5"),
     ({"by": "file", "guard": 3}, "--by time"), ({"ratios": (0.5, 0.1, 0.1)}, "--ratios")],
)  # fmt: skip
def test_the_workflow_explains_wrong_settings(folder, tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        run_split(folder, tmp_path / "split.json", **settings)
    assert not (tmp_path / "split.json").exists()


def test_the_workflow_asks_which_of_several_kinds(folder, tmp_path):
    (folder / "a.csv").write_text("t,x\n1,2\n")
    with pytest.raises(UserError, match="4 array, 1 table"):
        run_split(folder, tmp_path / "split.json")
