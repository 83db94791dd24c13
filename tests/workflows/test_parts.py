"""Reads, rows and frames out of files, streams to standard output, and damaged files."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from anycodec.bitstream.container import AczReader
from anycodec.bitstream.parts import Choice
from anycodec.cli import app
from anycodec.data import window
from anycodec.workflows import compress
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.train import run as train
from anycodec.workflows.within_bound import make_bound

GOLDEN = Path(__file__).parents[1] / "golden" / "acz_v1"
ROWS = 1000
BLOCK = 128
CODEC = """
codec:
  {type: vqgan, base_channels: 4, channel_multipliers: [1, 1], attention_levels: [], mid_attention: false,
   norm_groups: 2, res_blocks: 1, latent_channels: 4, patch_skip: true,
   quantizer: {type: vq, codebook_size: 16}}
train: {steps: 2, batch_size: 2, val_every: 2, val_batches: 1, threads: 1}
"""
READS = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(4)]


@contextmanager
def short_segments() -> Iterator[None]:
    """Many segments a signal, as long files have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "BLOCK_SAMPLES", BLOCK)
        yield


def acz(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x5A
    path.write_bytes(content)


def segments(path: Path) -> list[tuple[str, int, int, int]]:
    """Signal, start, and the place of each SEGMENT section and of its end in the file."""
    found = []
    with AczReader(path) as reader:
        for part, entry in reader.choose(Choice()).segments():
            found.append((part.info.id, entry.start, entry.offset, reader._frame.read(entry.offset).end))
    return found


def keep_only(path: Path, wanted: set[tuple[str, int]]) -> None:
    """Damage all other segments."""
    for signal, start, offset, end in segments(path):
        if (signal, start) not in wanted:
            flip(path, (offset + end) // 2)


@pytest.fixture
def table(packed_table: Path, tmp_path: Path) -> Path:
    shutil.copytree(packed_table, tmp_path, dirs_exist_ok=True)
    return tmp_path / "site.csv.acz"


@pytest.fixture
def reads(packed_reads: Path, tmp_path: Path) -> Path:
    shutil.copytree(packed_reads, tmp_path, dirs_exist_ok=True)
    return tmp_path / "reads.pod5.acz"


@pytest.fixture(scope="module")
def packed_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table in three segments of 42 rows a channel and more, with gaps, times and text, without loss."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "date": pd.date_range("2024-01-01", periods=ROWS, freq="7min").astype(str),
            "a": rng.integers(0, 90, ROWS) / 4,
            "state": rng.choice(["on", "off"], ROWS),
            "b": rng.integers(0, 90, ROWS) / 10,
        }
    )
    frame.loc[rng.integers(0, ROWS, 60), "a"] = np.nan
    folder = tmp_path_factory.mktemp("table")
    path = folder / "site.csv"
    frame.to_csv(path, index=False)
    pipeline = Pipeline.open(GOLDEN / "table" / "run", "cpu")
    with short_segments():
        assert compress.run_with(pipeline, [path], None, make_bound(None, lossless=True)) == 0
    return folder


@pytest.fixture(scope="module")
def packed_reads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four reads of 300 samples, tokens only."""
    pod5 = pytest.importorskip("pod5")
    from dataclasses import replace
    from uuid import UUID

    with pod5.Reader(GOLDEN / "pod5" / "pod5.pod5") as file:
        model = next(file.reads()).to_read()
    folder = tmp_path_factory.mktemp("reads")
    path = folder / "reads.pod5"
    rng = np.random.default_rng(0)
    with pod5.Writer(path) as writer:
        for name in READS:
            levels = rng.integers(300, 700, 30).repeat(10).astype(np.int16)
            writer.add_read(replace(model, read_id=UUID(name), signal=levels))
    pipeline = Pipeline.open(GOLDEN / "pod5" / "run", "cpu")
    with short_segments():
        assert compress.run_with(pipeline, [path], None) == 0
    return folder


def run_of(file: Path) -> list[object]:
    return [
        "--run",
        GOLDEN / {".csv": "table", ".pod5": "pod5"}[Path(file.stem).suffix] / "run",
        "--device",
        "cpu",
    ]


def samples_of(path: Path) -> dict[str, np.ndarray]:
    pod5 = pytest.importorskip("pod5")
    with pod5.Reader(path) as file:
        return {str(read.read_id): read.signal for read in file.reads()}


def lines(table: Path) -> list[str]:
    return table.with_suffix("").read_text().splitlines()


# --- parts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("100:130", 100, 130), ("-3:", 997, 1000), (":65", 0, 65)]
)
def test_rows_need_their_segments_only(table: Path, asked: str, first: int, last: int) -> None:
    """Every other segment is damaged. Numbers, gaps, times and text are those of the rows."""
    starts = [start for _, start, *_ in segments(table)]
    stops = [*starts[1:], ROWS]
    wanted = {("", start) for start, stop in zip(starts, stops, strict=True) if start < last and stop > first}
    assert 0 < len(wanted) < len(segments(table))
    keep_only(table, wanted)
    done = acz("decompress", table, "--rows", asked, "-o", table.parent / "out", *run_of(table))
    assert done.exit_code == 0, done.output
    header, *rows = lines(table)
    found = (table.parent / "out" / "site.part.csv").read_text()
    assert found == "\n".join([header, *rows[first:last]]) + "\n"


def test_reads_need_their_segments_only(reads: Path) -> None:
    assert acz("decompress", reads, "-o", reads.parent / "all", *run_of(reads)).exit_code == 0
    whole = samples_of(reads.parent / "all" / "reads.pod5")
    keep_only(
        reads, {(signal, start) for signal, start, *_ in segments(reads) if signal in (READS[1], READS[3])}
    )
    listed = reads.parent / "list.txt"
    listed.write_text(f"{READS[3]}\n\n{READS[1]}\n")
    assert acz("decompress", reads, "--reads", f"@{listed}", *run_of(reads)).exit_code == 0
    found = samples_of(reads.parent / "reads.part.pod5")
    assert list(found) == [READS[1], READS[3]]
    for name, signal in found.items():
        np.testing.assert_array_equal(signal, whole[name])


def test_samples_of_one_read(reads: Path) -> None:
    assert acz("decompress", reads, "-o", reads.parent / "all", *run_of(reads)).exit_code == 0
    whole = samples_of(reads.parent / "all" / "reads.pod5")
    done = acz("decompress", reads, "--reads", READS[2], "--rows", "50:200", *run_of(reads))
    assert done.exit_code == 0, done.output
    found = samples_of(reads.parent / "reads.part.pod5")
    assert list(found) == [READS[2]]
    np.testing.assert_array_equal(found[READS[2]], whole[READS[2]][50:200])


def test_reads_that_are_not_there_are_named(reads: Path) -> None:
    done = acz("decompress", reads, "--reads", f"{READS[0]},nobody", *run_of(reads))
    assert done.exit_code == 2
    assert "not found: nobody" in done.output
    assert list(samples_of(reads.parent / "reads.part.pod5")) == [READS[0]]
    done = acz("decompress", reads, "--reads", "nobody", "-o", reads.parent / "out", *run_of(reads))
    assert done.exit_code == 2
    assert "nothing of reads.pod5 was chosen" in done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows", "5"], "--rows 5 is no stretch"),
        (["--rows", "a:b"], "no stretch"),
        (["--rows", "1:2", "--frames", "1:2"], "exclude each other"),
        (["--frames", "0:5"], "give --rows"),
        (["--rows", "5000:6000"], "nothing of site.csv was chosen"),
        (["--rows", "0:5", "--keep-going"], "whole files"),
        (["--reads", "@nowhere.txt"], "no such list"),
    ],
)
def test_mistakes_are_named(table: Path, options: list[str], message: str) -> None:
    done = acz("decompress", table, *options, *run_of(table))
    assert done.exit_code == 2
    assert message in done.output
    assert not list(table.parent.glob("*.part.*"))


def test_frames_of_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    av = pytest.importorskip("av")
    monkeypatch.setattr(window, "BLOCK_FRAMES", 4)
    (tmp_path / "clips").mkdir()
    source = tmp_path / "clips" / "a.mkv"
    pictures = np.random.default_rng(0).integers(0, 255, (14, 16, 16, 3), np.uint8)
    with av.open(str(source), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width = stream.height = 16
        stream.pix_fmt = "bgr0"
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    config = tmp_path / "config.yaml"
    data = f"type: video, window: {{size: [16, 16]}}, workers: 0, root: {source}"
    config.write_text(f"name: v\ndata: {{{data}}}\n{CODEC}")
    train(config, [], tmp_path / "run", False, True)
    pipeline = Pipeline.open(tmp_path / "run", "cpu")
    assert compress.run_with(pipeline, [source], tmp_path, make_bound(None, lossless=True)) == 0
    packed = tmp_path / "a.mkv.acz"
    keep_only(packed, {("", 4), ("", 8)})
    done = acz("decompress", packed, "--frames", "5:11", "-o", tmp_path / "out", "--device", "cpu")
    assert done.exit_code == 0, done.output
    with av.open(str(tmp_path / "out" / "a.part.mkv")) as file:
        found = [(frame.pts, frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
    np.testing.assert_array_equal([picture for _, picture in found], pictures[5:11])
    assert found[0][0] == 0


# --- streams ------------------------------------------------------------------------------------


def test_a_table_is_written_as_it_was(table: Path) -> None:
    done = acz("cat", table, *run_of(table))
    assert done.exit_code == 0
    assert done.stdout_bytes == table.with_suffix("").read_bytes()


def test_rows_as_arrays(table: Path) -> None:
    done = acz("cat", table, "--rows", "90:140", "--format", "npy", *run_of(table))
    values = pd.read_csv(table.with_suffix(""))[["a", "b"]].to_numpy()[90:140]
    np.testing.assert_array_equal(np.load(io.BytesIO(done.stdout_bytes)), values)
    raw = acz("cat", table, "--rows", "90:140", "--format", "raw", *run_of(table)).stdout_bytes
    np.testing.assert_array_equal(np.frombuffer(raw, "<f8").reshape(-1, 2), values)


def test_reads_as_lines(reads: Path) -> None:
    assert acz("decompress", reads, "-o", reads.parent / "all", *run_of(reads)).exit_code == 0
    done = acz("cat", reads, "--reads", f"{READS[0]},{READS[2]}", *run_of(reads))
    header, *rows = done.stdout.splitlines()
    assert header.split("\t") == ["read_id", "sample_rate", "samples", "pA"]
    pod5 = pytest.importorskip("pod5")
    with pod5.Reader(reads.parent / "all" / "reads.pod5") as file:
        current = {str(read.read_id): read.signal_pa for read in file.reads()}
    assert [row.split("\t")[0] for row in rows] == [READS[0], READS[2]]
    for row in rows:
        name, _, count, text = row.split("\t")
        found = np.array(text.split(","), np.float32)
        assert len(found) == int(count) == 300
        assert np.abs(found - current[name]).max() < 0.2  # restored files hold whole ADC counts


def test_arrays_one_after_the_other(reads: Path) -> None:
    stream = io.BytesIO(acz("cat", reads, "--format", "npy", *run_of(reads)).stdout_bytes)
    arrays = [np.load(stream) for _ in READS]
    assert [array.shape for array in arrays] == [(300, 1)] * 4
    assert {array.dtype.name for array in arrays} == {"float32"}
    assert not stream.read()


def test_a_reader_that_goes_away_is_no_error(table: Path) -> None:
    """As in `anycodec cat FILE | head -3`, with more text than a pipe holds."""
    code = "import sys; from anycodec.cli import main; sys.argv[0] = 'anycodec'; main()"
    words = ["cat", table, "--rows", "0:900", *run_of(table)]
    command = [sys.executable, "-c", f"import os; os.environ['X'] = ''; {code}", *map(str, words)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    assert running.stderr.read() == ""
    running.wait()


# --- damage -------------------------------------------------------------------------------------


def test_what_a_damaged_table_still_holds(table: Path) -> None:
    *_, (_, start, offset, end), (_, stop, *_) = segments(table)[:4]
    flip(table, (offset + end) // 2)
    refused = acz("decompress", table, "-o", table.parent / "out", *run_of(table))
    assert refused.exit_code == 2
    assert not (table.parent / "out" / "site.csv").exists()
    done = acz("decompress", table, "--keep-going", "-o", table.parent / "out", *run_of(table))
    assert done.exit_code == 2
    assert f"damaged at byte {offset:,}: the section's checksum is wrong" in done.output
    assert f"missing: the signal, samples {start:,} to {stop:,}" in done.output
    header, *rows = lines(table)
    found = (table.parent / "out" / "site.part.csv").read_text()
    assert found == "\n".join([header, *rows[:start], *rows[stop:]]) + "\n"


def test_damaged_reads_are_left_out_whole(reads: Path) -> None:
    _, start, offset, end = next(one for one in segments(reads) if one[0] == READS[1] and one[1])
    assert 0 < start < 300
    flip(reads, (offset + end) // 2)
    done = acz("decompress", reads, "--keep-going", *run_of(reads))
    assert done.exit_code == 2
    assert f"missing: signal {READS[1]}, samples 0 to 300" in done.output
    assert list(samples_of(reads.parent / "reads.part.pod5")) == [READS[0], READS[2], READS[3]]


def test_a_file_that_was_cut_off(reads: Path) -> None:
    *_, (_, _, offset, _) = [one for one in segments(reads) if one[0] == READS[2]]
    reads.write_bytes(reads.read_bytes()[:offset])
    done = acz("decompress", reads, "--keep-going", *run_of(reads))
    assert done.exit_code == 2
    assert "the end mark is missing" in done.output
    assert f"missing: signal {READS[2]}" in done.output
    assert "missing: signal number 3" in done.output
    assert list(samples_of(reads.parent / "reads.part.pod5")) == READS[:2]


def test_nothing_wrong_means_nothing_said(reads: Path) -> None:
    done = acz("decompress", reads, "--keep-going", "-o", reads.parent / "out", *run_of(reads))
    assert done.exit_code == 0
    assert "damaged" not in done.output
    assert list(samples_of(reads.parent / "out" / "reads.pod5")) == READS
