"""Token sets back to native files, and on to readers of other programs."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from anycodec.cli import app
from anycodec.data import window
from anycodec.data.tokens import TokenDataset
from anycodec.errors import FormatError, RunError
from anycodec.io import formats
from anycodec.io.pod5_fields import FLOATS
from anycodec.types import FileInfo, Signal, SignalInfo
from anycodec.workflows import compress, decompress, detokenize, samples, tokenize, tokens
from anycodec.workflows.train import run as train
from workflows.token_runs import Inline, contents

CODEC_1D = """
codec:
  {type: simvqgan, base_channels: 8, stem_stride: 2, channels: [8], strides: [2], res_blocks: 0,
   mid_blocks: 0, latent_channels: 8, patch_skip: true,
   quantizer: {type: residual, stages: 2, quantizer: {type: vq, codebook_size: 16}}}
train: {steps: 1, batch_size: 2, val_every: 1, val_batches: 1, threads: 1}
"""
CODEC_2D = """
codec: {type: vqvae2, rates: [4, 2], hidden_channels: 8, res_channels: 4, latent_channels: 4,
        quantizer: {type: vq, codebook_size: 16}}
train: {steps: 1, batch_size: 2, val_every: 1, val_batches: 1, threads: 1, best: {metric: val/psnr}}
"""
KINDS = {
    "nanopore": "data: {type: pod5, workers: 0, window: {samples: 256, overlap: 16}}" + CODEC_1D,
    "series": "data: {type: table, workers: 0, window: {samples: 64}, normalizer: {type: revin}}" + CODEC_1D,
    "array": "data: {type: array, layout: nct, workers: 0, window: {samples: 64}}" + CODEC_1D,
    "images": "data: {type: image, workers: 0, window: {size: [32, 32]}}" + CODEC_2D,
    "video": "data: {type: video, workers: 0, window: {size: [32, 32], frames: 2}}" + CODEC_2D,
}


@dataclass(frozen=True)
class Tokenized:
    data: Path
    run: Path
    tokens: Path


def write_data(kind: str, folder: Path) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    match kind:
        case "array":
            np.save(folder / "a.npy", np.cumsum(rng.normal(size=(3, 2, 200)), axis=-1))
            np.save(folder / "b.npy", np.cumsum(rng.normal(size=(2, 2, 130)), axis=-1))
        case "images":
            for name in ("ID_1/x", "ID_1/y", "ID_2/x", "ID_2/y", "ID_3/x", "ID_3/y"):
                (folder / name).parent.mkdir(exist_ok=True)
                pixels = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
                Image.fromarray(pixels).save(folder / f"{name}.png")
        case "video":
            for name in "abcd":
                write_video(folder / f"{name}.mp4", rng)
        case "nanopore":
            samples.run(kind, folder, seed=3, size="small")
            for path in sorted(folder.rglob("*.pod5"))[1:]:
                path.unlink()
        case _:
            samples.run(kind, folder, seed=3, size="small")
    return folder


def write_video(path: Path, rng: np.random.Generator) -> None:
    frames = rng.integers(0, 256, (10, 4, 5, 3), dtype=np.uint8).repeat(10, axis=1).repeat(10, axis=2)
    meta = {
        "writer": "x264", "fps": [25, 1], "time_base": [1, 25], "even": True, "size": [40, 50],
        "pixel_aspect": None,
    }  # fmt: skip
    info = SignalInfo(id="", axes="THWC", shape=frames.shape, dtype="uint8", rate=25.0, unit="level")
    file = FileInfo(path=str(path), format="video", n_signals=1, meta=meta)
    formats.write(path, file, [Signal(info=info, values=frames)])


@pytest.fixture(scope="module", params=list(KINDS))
def tokenized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenized:
    if request.param == "nanopore":
        pytest.importorskip("pod5")
    if request.param == "video":
        pytest.importorskip("av")
    return make(request.param, tmp_path_factory.mktemp(request.param))


def make(kind: str, folder: Path) -> Tokenized:
    data = write_data(kind, folder / "data")
    (folder / "config.yaml").write_text(f"name: {kind}\n{KINDS[kind]}")
    train(folder / "config.yaml", [f"data.root={data}"], folder / "run", False, True)
    assert tokenize.run(folder / "run", [data], folder / "tokens", device="cpu", executor=Inline()) in (0, 2)
    return Tokenized(data, folder / "run", folder / "tokens")


def anycodec(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_files_are_what_decompress_restores(tokenized: Tokenized, tmp_path: Path) -> None:
    assert tokens.verify(tokenized.tokens) == 0
    assert compress.run(tokenized.run, [tokenized.data], tmp_path / "packed", "cpu") in (0, 2)
    assert decompress.run([tmp_path / "packed"], tmp_path / "one", None, "cpu") == 0
    done = anycodec("detokenize", tokenized.tokens, "-o", tmp_path / "two", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert contents(tmp_path / "one")
    assert restored(tmp_path / "one") == restored(tmp_path / "two")


def restored(folder: Path) -> dict[str, object]:
    """What files hold: their bytes, but for POD5, which has an identifier of its own in each file."""
    found: dict[str, object] = {}
    for name, content in contents(folder).items():
        if not name.endswith(".pod5"):
            found[name] = content
            continue
        source = formats.default_source("pod5")
        parts = formats.read(folder / name, source, 2**20)
        found[name] = [(part.info, part.start, part.values.tobytes()) for part in parts]
    return found


def test_bytes_do_not_depend_on_the_order_of_sets(tokenized: Tokenized) -> None:
    infos = pq.read_table(tokenized.tokens, columns=["info"])["info"].to_pylist()
    for meta in (json.loads(info)["meta"] for info in infos if info and "median_before" in info):
        floats = [name for name in meta if name in FLOATS]
        assert floats == [name for name in FLOATS if name in meta]


def test_tokens_of_two_levels_are_packed(tokenized: Tokenized, tmp_path: Path) -> None:
    done = anycodec("pack", tokenized.tokens, "-o", tmp_path / "x.bin", "--eos")
    assert done.exit_code == 0, done.output
    read = TokenDataset(tmp_path / "x.bin")
    table = pq.read_table(tokenized.tokens)
    signals = {(row["source"], row["signal"]) for row in table.select(["source", "signal"]).to_pylist()}
    assert len(read) == len(signals)
    for level in range(2):
        column = table[f"tokens_{level}"].combine_chunks().flatten().to_numpy()
        again = [read.document(number).grids[level].ravel() for number in range(len(read))]
        np.testing.assert_array_equal(np.concatenate(again), column)


def test_readers_of_parquet_need_no_anycodec(tokenized: Tokenized) -> None:
    header = json.loads(pq.read_schema(next(tokenized.tokens.glob("*.parquet"))).metadata[b"anycodec"])
    if importlib.util.find_spec("datasets") is None:
        rows = ds.dataset(tokenized.tokens, format="parquet").to_table().to_pylist()
    else:
        from datasets import load_dataset

        files = str(tokenized.tokens / "*.parquet")
        rows = list(load_dataset("parquet", data_files=files, split="train", cache_dir=str(tokenized.run)))
    assert rows
    for row in rows:
        for level, grid in enumerate(header["grids"]):
            shaped = np.array(row[f"tokens_{level}"]).reshape(row["windows"], *grid)
            assert shaped.max() < header["codebook_sizes"][level]


# --- what can go wrong ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Tokenized:
    return make("array", tmp_path_factory.mktemp("arrays"))


def test_nothing_is_overwritten(arrays: Tokenized, tmp_path: Path) -> None:
    assert detokenize.run(arrays.tokens, tmp_path / "out", device="cpu") == 0
    before = contents(tmp_path / "out")
    done = anycodec("detokenize", arrays.tokens, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "a.npy exists already" in done.stderr
    assert contents(tmp_path / "out") == before
    assert anycodec("pack", arrays.tokens, "-o", tmp_path / "x.bin").exit_code == 0
    done = anycodec("pack", arrays.tokens, "-o", tmp_path / "x.bin")
    assert (done.exit_code, "x.bin exists already" in done.stderr) == (2, True)
    done = anycodec("pack", arrays.tokens, "-o", tmp_path / "x.txt")
    assert (done.exit_code, "does not end in .bin" in done.stderr) == (2, True)


def test_long_signals_are_several_rows(
    arrays: Tokenized, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "BLOCK_SAMPLES", 2 * 64)  # a window of both channels
    data, out = arrays.data, tmp_path / "tokens"
    assert tokenize.run(arrays.run, [data], out, device="cpu", executor=Inline()) == 0
    rows = pq.read_table(out, columns=["id", "length", "windows"]).to_pylist()
    starts = [*[f"a.npy#{n}@{t}" for n in range(3) for t in (0, 64, 128, 192)],
              *[f"b.npy#{n}@{t}" for n in range(2) for t in (0, 64, 128)]]  # fmt: skip
    assert [row["id"] for row in rows] == starts
    assert [row["length"] for row in rows[:4]] == [64, 64, 64, 8]
    assert {row["windows"] for row in rows} == {2}
    compress.run(arrays.run, [data], tmp_path / "packed", "cpu")
    decompress.run([tmp_path / "packed"], tmp_path / "one", None, "cpu")
    detokenize.run(out, tmp_path / "two", device="cpu")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_run_is_refused(arrays: Tokenized, tmp_path: Path) -> None:
    other = tmp_path / "run"
    other.mkdir()
    for name in ("manifest.json", "weights.safetensors", "statistics.safetensors"):
        (other / name).write_bytes((arrays.run / name).read_bytes())
    text = (arrays.run / "config.yaml").read_text()
    (other / "config.yaml").write_text(text.replace("samples: 64", "samples: 128"))
    with pytest.raises(FormatError, match="wrong codec: the tokens are of array"):
        detokenize.run(arrays.tokens, tmp_path / "out", other, "cpu")
    moved = arrays.run.rename(tmp_path / "elsewhere")
    try:
        with pytest.raises(RunError, match="the run that coded tokens is not at"):
            detokenize.run(arrays.tokens, tmp_path / "out", None, "cpu")
    finally:
        moved.rename(arrays.run)
    assert not (tmp_path / "out").exists()


def test_a_damaged_shard_leaves_no_half_file(arrays: Tokenized, tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    folder.mkdir()
    for path in arrays.tokens.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (shard,) = folder.glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:-50])
    with pytest.raises(FormatError, match="damaged shard"):
        detokenize.run(folder, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()
