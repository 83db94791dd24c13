from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycodec.config.data import TableSource
from anycodec.errors import DataError
from anycodec.io.columns import pack_column, unpack_column
from anycodec.io.formats import open_file, read, write
from anycodec.io.numerals import Survey, read_numbers, write_numbers
from anycodec.types import Signal

WIDE = TableSource()


def restore(path: Path, source: TableSource = WIDE, block: int = 3) -> Path:
    target = path.with_name(f"restored_{path.name}")
    with open_file(path, source) as reader:
        info = replace(reader.info, meta=json.loads(json.dumps(reader.info.meta, allow_nan=False)))
        write(target, info, reader.segments(block))
    return target


def single(path: Path, source: TableSource = WIDE) -> Signal:
    (segment,) = read(path, source, 10**6)
    return segment


@pytest.mark.parametrize(
    "text",
    [
        "t,a,b\n2020-01-01,1,2.50\n2020-01-02,,3.25\n2020-01-04,3,nan\n",
        "t;a;b\r\n2020-01-01;1;2.5\r\n2020-01-02;-7;inf\r\n2020-01-04;;\r\n",
        'name,a\n"x,1",1\ny,2\n"z ""q""\nw",3',
        '"name","a"\n"x,1","1"\n"y","2"\n',
        "a\n1\n\n3\n",
        "1,2\n3,4\n5,6\n",
        "\ufeffa,b\n1e-05,0.1\n1.5,-0.0\n",
        ",a\n0,0.5\n1,1\n2,2.25\n",
        "id,a\n007,1\n008,2\n",
        "id,a\n123456789012345678,1\n123456789012345679,2\n",
        "a,b\n1,NaN\n2,\n3,inf\n4,-inf\n5,\n",
        "a,b\n,1\n,2\n",
        "a,b\n",
        "a,b\n1,2\n\n\n",
        "a,a\n1,2.0\n3,4.5\n",
    ],
    ids=[
        "gaps",
        "semicolons and CRLF",
        "quotes where needed",
        "quotes everywhere",
        "one column with a gap",
        "no header",
        "byte order mark",
        "pandas index",
        "leading zeros",
        "long integers",
        "three spellings of missing",
        "nothing but gaps",
        "no rows",
        "empty lines at the end",
        "equal names",
    ],
)
def test_csv_comes_back_byte_for_byte(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    assert restore(path).read_bytes() == text.encode()


def test_missing_values_are_filled_and_marked(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t,a,b\nx,,1\nx,2.5,\nx,inf,\nx,4.5,\n")
    signal = single(path)
    np.testing.assert_array_equal(signal.values, [[2.5, 1], [2.5, 1], [2.5, 1], [4.5, 1]])
    np.testing.assert_array_equal(signal.mask, [[0, 1], [1, 0], [0, 0], [1, 0]])
    assert signal.info.channels == ("a", "b")


def test_changed_values_keep_the_form_of_their_column(tmp_path: Path) -> None:
    path, target = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text("n,f,g\n1,2.50,1.5\n2,3.25,2\n")
    with open_file(path, WIDE) as reader:
        signal = single(path)
        write(target, reader.info, [replace(signal, values=signal.values + 0.6666)])
    assert target.read_text() == "n,f,g\n2,3.17,2.2\n3,3.92,2.7\n"


def test_text_in_a_numeric_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,load\n" + "1,2.5\n" * 3000 + "1,offline\n" + "1,2.5\n" * 10)
    with pytest.raises(DataError) as caught:
        open_file(path, WIDE)
    message = caught.value.render()
    assert "'load'" in message
    assert "'offline'" in message
    assert f"{path}:3002" in message
    assert "data.columns" in message
    assert single(path, TableSource(columns=("a",))).info.channels == ("a",)


def test_a_row_of_another_length_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "1,2\n" * 2000 + "1,2,3\n")
    with pytest.raises(DataError, match="Expected 2 columns, got 3") as caught:
        open_file(path, WIDE)
    assert caught.value.where == f"{path}:2002"


def test_unknown_columns_name_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("date,load\n1,2\n")
    for source in (
        TableSource(columns=("laod",)),
        TableSource(timestamp="laod"),
        TableSource(series_id="laod"),
    ):
        with pytest.raises(DataError, match="did you mean 'load'"):
            open_file(path, source)


def test_a_table_without_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x;y\n1,5;a\n2,5;b\n")
    with pytest.raises(DataError, match="no numeric column"):
        open_file(path, WIDE)


def test_time_in_numbers_is_no_channel(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("timestamp,v\n" + "".join(f"{1_600_000_000 + 60 * i},{i}\n" for i in range(5000)))
    signal = single(path)
    assert signal.info.channels == ("v",)
    assert len(signal.attachments["column.0"]) < 50


@pytest.mark.parametrize("order", [[0, 0, 1, 1, 1, 2], [0, 1, 2, 1, 0, 1]], ids=["sorted", "interleaved"])
def test_long_tables_hold_a_signal_a_series(order: list[int], tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [f"s{n}" for n in order], "v": np.arange(6) * 0.5, "note": list("abcdef")})
    source = TableSource(series_id="id")
    for path in (tmp_path / "a.csv", tmp_path / "a.parquet"):
        frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
        signals = {s.info.id: s for s in read(path, source, 100)}
        assert {id_: s.values[:, 0].tolist() for id_, s in signals.items()} == {
            f"s{n}": [0.5 * i for i in range(6) if order[i] == n] for n in range(3)
        }
        restored = restore(path, source)
        reader = pd.read_csv if path.suffix == ".csv" else pd.read_parquet
        pd.testing.assert_frame_equal(reader(restored), frame)


def test_parquet_keeps_types_index_order_and_metadata(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 500
    frame = pd.DataFrame(
        {
            "i8": rng.integers(-9, 9, n).astype("i1"),
            "u64": rng.integers(2**62, 2**63, n).astype("u8"),
            "text": rng.choice(["a", "b", None], n),
            "f4": rng.normal(size=n).astype("f4"),
            "f8": rng.choice([np.nan, np.inf, -np.inf, 0.1], n),
            "kind": pd.Categorical(rng.choice(["x", "y"], n)),
            "yes": rng.random(n) > 0.5,
            "nullable": pd.array(rng.choice([1, 2, None], n), dtype="Int64"),
        },
        index=pd.date_range("2020", periods=n, freq="h", tz="Europe/Berlin"),
    )
    path = tmp_path / "a.parquet"
    frame.to_parquet(path, row_group_size=120)
    assert single(path).info.channels == ("i8", "f4", "f8", "nullable")
    restored = restore(path, block=77)
    assert pq.read_schema(restored).equals(pq.read_schema(path), check_metadata=True)
    pd.testing.assert_frame_equal(pd.read_parquet(restored), frame, check_freq=False)


def test_fetching_rows_reads_only_their_stretch(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    values = np.random.default_rng(0).normal(size=(5000, 2)).round(3)
    pd.DataFrame(values, columns=["a", "b"]).to_csv(path, index=False)
    with open_file(path, WIDE) as reader:
        for start, stop in ((0, 1), (1023, 1025), (2047, 4097), (4999, 5000), (4990, 9999)):
            np.testing.assert_array_equal(reader.fetch(0, start, stop).values, values[start:stop])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_written_by_pandas_come_back_exactly(numbers: list[float]) -> None:
    text = io.StringIO()
    pd.DataFrame({"a": numbers}).to_csv(text, index=False)
    cells = text.getvalue().splitlines()[1:]
    survey = Survey()
    survey.feed(pa.array(cells), 0)
    form = survey.form()
    values, codes = read_numbers(pa.array(cells), form["missing"])
    np.testing.assert_array_equal(values, numbers)
    assert write_numbers(values, codes, form) == cells


@given(st.lists(st.decimals(-(10**8), 10**8, places=4), min_size=1))
def test_decimal_numbers_keep_their_digits(numbers: list[object]) -> None:
    cells = [f"{number:.4f}" for number in numbers]
    survey = Survey()
    survey.feed(pa.array(cells), 0)
    values, codes = read_numbers(pa.array(cells), [""])
    assert survey.form()["form"] == "fixed"
    assert write_numbers(values, codes, survey.form()) == cells


@given(
    st.one_of(
        st.lists(st.text()).map(lambda x: pa.array(x, pa.string())),
        st.lists(st.integers(-(2**63), 2**63 - 1)).map(lambda x: pa.array(x, pa.int64())),
        st.lists(st.integers(0, 4 * 10**9)).map(lambda x: pa.array(map(str, x), pa.string())),
        st.lists(st.datetimes()).map(lambda x: pa.array([f"{t:%Y-%m-%d %H:%M}" for t in x], pa.string())),
        st.lists(st.one_of(st.none(), st.booleans())).map(lambda x: pa.array(x, pa.bool_())),
        st.lists(st.one_of(st.none(), st.binary())).map(lambda x: pa.array(x, pa.binary())),
        st.lists(st.integers(0, 2**40)).map(lambda x: pa.array(x, pa.timestamp("ns", "UTC"))),
    )
)
def test_passed_through_columns_come_back_exactly(column: pa.Array) -> None:
    assert unpack_column(pack_column(column), column.type, len(column)).equals(column)


@pytest.mark.parametrize("packed", [b"", b"s[", b"d\n", b"a\0\0", b"z", b's["int", 0, {}]', b's["%Q", 0, 1]'])
def test_damaged_columns_are_named(packed: bytes) -> None:
    with pytest.raises(DataError):
        unpack_column(packed, pa.string(), 3)


def test_regular_times_take_a_few_bytes() -> None:
    times = pd.date_range("2016-07-01", periods=70_000, freq="15min").strftime("%Y-%m-%d %H:%M:%S")
    assert len(pack_column(pa.array(times.tolist()))) < 50


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["ETTm1.csv", "ETTh1.csv"])
def test_the_ett_tables_come_back_byte_for_byte(name: str, real_data: Path, tmp_path: Path) -> None:
    original = real_data / "series" / name
    path = tmp_path / name
    path.symlink_to(original)
    assert single(path).info.channels == ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    assert restore(path, block=10_000).read_bytes() == original.read_bytes()
