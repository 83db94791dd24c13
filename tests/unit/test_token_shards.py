"""Token shards: rows come back as they were; damaged and hostile files are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anycodec.bitstream import shard_reader, shard_writer
from anycodec.bitstream.segment import SegmentData
from anycodec.bitstream.shard_reader import ShardReader
from anycodec.bitstream.shard_schema import HEADER_KEY, Row, ShardHeader
from anycodec.bitstream.shard_writer import ShardWriter
from anycodec.errors import FormatError
from anycodec.types import Affine, FileInfo, SignalInfo, Tokens

HEADER = ShardHeader(
    program="anycodec 0", codebook_sizes=(16, 70_000), grids=((2,), (4,)), strides=((4,), (2,)),
    codec={"fingerprint": "f"}, config={"name": "x"},
)  # fmt: skip


def rows() -> list[Row]:
    """Two files of two signals with two segments; each kind of side information, and none."""
    rng = np.random.default_rng(0)
    found = []
    for source in ("a/x.npy", "b.npy"):
        file = FileInfo(
            path=Path(source).name, format="array", n_signals=2, meta={"layout": "tc", "é": [1, None]}
        )
        for signal in range(2):
            info = SignalInfo(
                id=f"{source}-{signal}", axes="TC", shape=(26, 3), dtype="int16", rate=4000.0, unit="pA",
                channels=("u", "v", "w"), value_range=(-5.0, 5.0), label="ID_1" if signal else None,
                meta={"n": signal},
            )  # fmt: skip
            for segment in range(2):
                grids = rng.integers(0, 16, (2, 2)), rng.integers(0, 70_000, (2, 4))
                n = (1, 2)[signal]
                affine = Affine(*rng.uniform(1, 2, (2, n, 3)).astype(np.float32)) if segment else None
                data = SegmentData(
                    start=13 * segment,
                    length=13,
                    tokens=Tokens(grids, HEADER.codebook_sizes),
                    affine=affine,
                    mask=rng.random((13, 3)) > 0.3 if signal else None,
                    attachments={"time": bytes(9), "": b"x"} if segment else {},
                )
                found.append(
                    Row(source=source, file=file, signal=signal, info=info, segment=segment, data=data)
                )
    return found


def write(path: Path, found: list[Row] | None = None) -> Path:
    with ShardWriter(path, HEADER) as writer:
        for row in rows() if found is None else found:
            writer.add(row)
        writer.record = {"shard": 0}
    return path


def read(path: Path) -> list[Row]:
    with ShardReader(path) as reader:
        return list(reader.rows())


def same(one: Row, two: Row) -> None:
    assert (one.id, one.file, one.info, one.segment) == (two.id, two.file, two.info, two.segment)
    a, b = one.data, two.data
    assert (a.start, a.length, a.attachments) == (b.start, b.length, b.attachments)
    for x, y in zip(a.tokens.grids, b.tokens.grids, strict=True):
        np.testing.assert_array_equal(x, y)
    assert (a.affine is None, a.mask is None) == (b.affine is None, b.mask is None)
    if a.affine is not None and b.affine is not None:
        np.testing.assert_array_equal([a.affine.shift, a.affine.scale], [b.affine.shift, b.affine.scale])
    if a.mask is not None:
        np.testing.assert_array_equal(a.mask, b.mask)


@pytest.mark.parametrize("group", [1000, 3, 1])
def test_rows_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    monkeypatch.setattr(shard_writer, "ROWS_A_GROUP", group)
    path = write(tmp_path / "x.parquet")
    for one, two in zip(rows(), read(path), strict=True):
        same(one, two)
    assert pq.ParquetFile(path).num_row_groups == -(-8 // group)
    with ShardReader(path) as reader:
        assert (reader.header, reader.record, reader.n_rows) == (HEADER, {"shard": 0}, 8)
        for level, counts in enumerate(reader.counts()):
            every = np.concatenate([row.data.tokens.grids[level].ravel() for row in rows()])
            np.testing.assert_array_equal(counts, np.bincount(every, minlength=HEADER.codebook_sizes[level]))


def test_groups_are_bounded_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_writer, "BYTES_A_GROUP", 250)  # a row has 96 bytes of tokens and more
    path = write(tmp_path / "x.parquet")
    assert pq.ParquetFile(path).num_row_groups in range(3, 6)


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a").read_bytes() == write(tmp_path / "b").read_bytes()


def test_rows_can_be_taken_back(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "a", HEADER) as writer:
        for row in rows():
            writer.add(row)
        writer.take_back("b.npy")
        writer.record = {"shard": 0}
    assert (tmp_path / "a").read_bytes() == write(tmp_path / "b", rows()[:4]).read_bytes()


def test_an_empty_shard(tmp_path: Path) -> None:
    assert read(write(tmp_path / "x", [])) == []


def test_types_are_the_smallest(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "x.parquet"))
    assert [str(table.schema.field(f"tokens_{i}").type) for i in (0, 1)] == [
        "list<element: uint16>",
        "list<element: uint32>",
    ]
    assert table["tokens_0"][0].as_py() == rows()[0].data.tokens.grids[0].ravel().tolist()


# --- damage -----------------------------------------------------------------------------------------


def test_any_damaged_byte_is_found_or_harmless(tmp_path: Path) -> None:
    content = write(tmp_path / "x.parquet").read_bytes()
    damaged = tmp_path / "damaged"
    found = []
    for at in range(0, len(content), 97):
        changed = bytearray(content)
        changed[at] ^= 0x55
        damaged.write_bytes(changed)
        try:
            for one, two in zip(rows(), read(damaged), strict=True):
                same(one, two)
        except FormatError as error:
            found.append(str(error))
    assert all(str(damaged) in message for message in found)
    assert len(found) > 0.4 * len(content) / 97  # the footer holds much that nobody reads


@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, -1])
def test_truncated_files_are_refused(tmp_path: Path, keep: float) -> None:
    path = write(tmp_path / "x.parquet")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep == 0.5 else int(keep)])
    with pytest.raises(FormatError, match="damaged shard"):
        read(path)


def test_foreign_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(FormatError, match="not one of tokens"):
        read(path)
    with pytest.raises(FormatError, match="no such shard"):
        read(tmp_path / "none")


def altered(path: Path, column: str, change) -> Path:
    """The shard with another column."""
    table = pq.read_table(write(path))
    values = table[column].to_pylist()
    change(values)
    index = table.schema.get_field_index(column)
    changed = table.set_column(
        index, table.schema.field(column), pa.array(values, table.schema.field(column).type)
    )
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(changed)
        writer.add_key_value_metadata({"anycodec.shard": "{}"})
    return path


def put(at: int, value: object):
    return lambda values: values.__setitem__(at, value)


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("tokens_0", put(0, [0, 0, 0, 16]), "code 16 in level 0"),
        ("tokens_1", put(3, [70_000] * 8), "code 70000 in level 1"),
        ("tokens_0", put(0, [0, 0]), "2 tokens of level 0 for 2 windows"),
        ("tokens_0", put(0, None), "tokens_0 is missing"),
        ("tokens_0", put(0, [0, 0, 0, None]), "tokens_0 has gaps"),
        ("windows", put(0, 2**62), "windows is"),
        ("windows", put(0, 0), "without windows"),
        ("length", put(0, -1), "length is -1"),
        ("start", put(1, 12), "segment 1 from 12 where 1 from 13"),
        ("segment", put(1, 2), "segment 2 from 13"),
        ("signal", put(2, 5), "signal 5"),
        ("source", put(4, "a/x.npy"), "signal 0 of 'a/x.npy' where"),
        ("source", put(0, "../x.npy"), "not a path below the root"),
        ("source", put(0, "/etc/x.npy"), "not a path below the root"),
        ("source", put(0, ""), "not a path below the root"),
        ("id", put(0, "b"), "its id or shape"),
        ("shape", put(0, [2**40, 3]), "its id or shape"),
        ("info", put(0, None), "info is missing"),
        ("info", put(0, "{"), "not JSON"),
        ("info", put(0, '{"id":"","axes":"TC","shape":[26],"dtype":"int16"}'), "axes 'TC'"),
        ("file", put(0, None), "file is missing"),
        ("shift", put(1, None), "a shift without a scale"),
        ("shift", put(1, [[1.0, 2.0]]), "statistics out of range"),
        ("shift", put(1, [[1.0], [1.0, 2.0, 3.0]]), "not a table"),
        ("shift", put(1, [[1.0]] * 7), "7 rows for 2 windows"),
        ("scale", put(1, [[1.0, 0.0, 1.0]]), "statistics out of range"),
        ("mask", put(2, b"x"), "a mask of 1 bytes for 39 values"),
        ("attachments", put(1, [{"name": "a", "data": b""}] * 2), "two attachments of one name"),
        ("attachments", put(1, [{"name": None, "data": b""}]), "attachments have gaps"),
    ],
)
def test_rows_that_no_writer_wrote_are_refused(tmp_path: Path, column: str, change, message: str) -> None:
    with pytest.raises(FormatError, match="damaged shard") as caught:
        read(altered(tmp_path / "x.parquet", column, change))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 2, "version 2"),
        ("codebook_sizes", [16, 1], "out of bounds"),
        ("codebook_sizes", [16], "has 2 levels"),
        ("grids", [[2], [0]], "out of bounds"),
        ("codebook_sizes", [16, 16], "not those of a token shard"),
    ],
)
def test_a_header_must_fit_its_columns(tmp_path: Path, key: str, value: object, message: str) -> None:
    path = write(tmp_path / "x.parquet")
    table = pq.read_table(path)
    header = json.loads(table.schema.metadata[HEADER_KEY]) | {key: value}
    pq.write_table(table.replace_schema_metadata({HEADER_KEY: json.dumps(header)}), path)
    with pytest.raises(FormatError, match=message):
        read(path)


def test_too_large_groups_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.parquet")
    monkeypatch.setattr(shard_reader, "LARGEST_GROUP", 60)
    with pytest.raises(FormatError, match="above the limit"):
        read(path)
