"""Compressing and restoring many files: folders, damage, mix-ups, full disks, foreign files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

import anycodec
from anycodec.bitstream.container import AczReader
from anycodec.cli import app
from anycodec.errors import DataError, FormatError, ResourceError, RunError, UserError
from anycodec.workflows import compress, decompress
from anycodec.workflows.train import run as train

CODEC_1D = """
codec:
  {type: simvqgan, base_channels: 8, stem_stride: 2, channels: [8], strides: [2], res_blocks: 0,
   mid_blocks: 0, latent_channels: 8, patch_skip: true, quantizer: {type: vq, codebook_size: 16}}
train: {steps: 2, batch_size: 4, val_every: 2, val_batches: 1, threads: 1}
"""
CODEC_2D = """
codec:
  {type: vqgan, base_channels: 8, channel_multipliers: [1, 1], attention_levels: [], mid_attention: false,
   res_blocks: 1, latent_channels: 8, patch_skip: true, quantizer: {type: vq, codebook_size: 16}}
train: {steps: 2, batch_size: 4, val_every: 2, val_batches: 1, threads: 1}
"""
RNG = np.random.default_rng(0)


def trained(folder: Path, data: str, codec: str) -> Path:
    config = folder / "config.yaml"
    config.write_text(f"name: {folder.name}\ndata: {{{data}, workers: 0, root: {folder / 'data'}}}{codec}")
    train(config, [], folder / "run", False, True)
    return folder / "run"


def picture(*shape: int, dtype: str = "uint8") -> NDArray[np.integer]:
    coarse = RNG.random((shape[0] // 8 + 1, shape[1] // 8 + 1, *shape[2:]))
    smooth = coarse.repeat(8, axis=0).repeat(8, axis=1)[: shape[0], : shape[1]]
    return (smooth * np.iinfo(dtype).max).astype(dtype)


def save(path: Path, pixels: NDArray[np.integer]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def rgb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rgb")
    for number in range(6):
        save(folder / "data" / f"{number}.png", picture(32, 40, 3))
    return trained(folder, "type: image, window: {size: [16, 16]}", CODEC_2D)


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grey")
    for number in range(6):
        save(folder / "data" / f"{number}.png", picture(32, 40))
    return trained(folder, "type: image, mode: grey, window: {size: [16, 16]}", CODEC_2D)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arrays")
    (folder / "data").mkdir()
    np.save(folder / "data" / "a.npy", np.cumsum(RNG.normal(size=(4, 3, 400)), axis=-1))
    return trained(
        folder,
        "type: array, layout: nct, window: {samples: 16, overlap: 4}, normalizer: {type: median_mad}",
        CODEC_1D,
    )


def acz(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def shown(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


# --- many files -------------------------------------------------------------------------------------


def test_folders_keep_their_sub_folders_both_ways(rgb: Path, tmp_path: Path) -> None:
    originals = {
        name: save(tmp_path / "in" / name, picture(20, 24, 3))
        for name in ("x.png", "ID_1/x.png", "ID_2/b/x.png")
    }
    assert acz("compress", rgb, tmp_path / "in", "-o", tmp_path / "packed").exit_code == 0
    found = {str(p.relative_to(tmp_path / "packed")) for p in (tmp_path / "packed").rglob("*.acz")}
    assert found == {f"{name}.acz" for name in originals}
    assert acz("decompress", tmp_path / "packed", "-o", tmp_path / "out").exit_code == 0
    codec = anycodec.load(rgb, device="cpu")
    for name, path in originals.items():
        in_memory = codec.decode(codec.encode(np.asarray(Image.open(path))))
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / name)), in_memory)


def test_beside_the_original_by_default(rgb: Path, tmp_path: Path) -> None:
    original = save(tmp_path / "x.png", picture(20, 24, 3))
    content = original.read_bytes()
    assert compress.run(rgb, [original], None, "cpu") == 0
    assert decompress.run([tmp_path / "x.png.acz"], None, None, "cpu") == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.png", "x.png.acz", "x.restored.png"]
    assert original.read_bytes() == content


def test_two_inputs_never_become_one_file(rgb: Path, tmp_path: Path) -> None:
    paths = [save(tmp_path / folder / "x.png", picture(20, 24, 3)) for folder in ("a", "b")]
    with pytest.raises(UserError, match=r"would both become x.png.acz; nothing was written"):
        compress.run(rgb, paths, tmp_path / "out", "cpu")
    assert compress.run(rgb, [paths[0], paths[0], tmp_path / "b"], None, "cpu") == 0
    packed = sorted(tmp_path.rglob("*.acz"))
    assert len(packed) == 2
    with pytest.raises(UserError, match=r"would both become x.png; nothing was written"):
        decompress.run(packed, tmp_path / "out", None, "cpu")
    assert not (tmp_path / "out").exists()


def test_damaged_files_among_good_ones_are_named(rgb: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        save(tmp_path / "in" / f"{name}.png", picture(20, 24, 3))
    truncated = (tmp_path / "in" / "b.png").read_bytes()
    (tmp_path / "in" / "b.png").write_bytes(truncated[: len(truncated) // 2])
    result = acz("compress", rgb, tmp_path / "in", "-o", tmp_path / "packed")
    assert result.exit_code == 2
    assert "left out: " in result.stdout
    assert "b.png" in result.stdout
    packed = sorted((tmp_path / "packed").iterdir())
    assert [p.name for p in packed] == ["a.png.acz", "c.png.acz", "d.png.acz"]

    for path, at in ((packed[0], 0), (packed[1], packed[1].stat().st_size // 2)):  # the head, the body
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)
    result = acz("decompress", *packed, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["d.png"]
    assert "left out: " in result.stdout
    assert "a.png.acz" in result.stdout
    assert "c.png.acz" in result.stdout


def test_nothing_depends_on_the_order_of_files(arrays: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.npy" for name in "ab"]
    for path in paths:
        np.save(path, RNG.normal(size=(2, 3, 50)))
    compress.run(arrays, paths, tmp_path / "one", "cpu")
    compress.run(arrays, paths[::-1], tmp_path / "two", "cpu")
    for path in paths:
        name = f"{path.name}.acz"
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_folder_without_files_says_what_is_there(rgb: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    result = acz("compress", rgb, tmp_path)
    assert result.exit_code == 2
    assert "1 x .txt" in shown(result)
    result = acz("decompress", tmp_path)
    assert result.exit_code == 2
    assert "no .acz file found" in shown(result)


# --- runs -------------------------------------------------------------------------------------------


def test_a_moved_run_is_found_or_given(rgb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(rgb, tmp_path / "away")
    file = save(tmp_path / "x.png", picture(20, 24, 3))
    compress.run(tmp_path / "away", [file], None, "cpu")
    shutil.move(tmp_path / "away", tmp_path / "elsewhere")
    with pytest.raises(RunError, match=r"is not at .*away[\s\S]*--run"):
        decompress.run([tmp_path / "x.png.acz"], tmp_path / "one", None, "cpu")
    assert decompress.run([tmp_path / "x.png.acz"], tmp_path / "one", tmp_path / "elsewhere", "cpu") == 0
    shutil.move(tmp_path / "elsewhere", tmp_path / "runs" / "renamed")
    assert decompress.run([tmp_path / "x.png.acz"], tmp_path / "two", None, "cpu") == 0
    assert (tmp_path / "one" / "x.png").read_bytes() == (tmp_path / "two" / "x.png").read_bytes()


def test_another_codec_is_refused_by_name(rgb: Path, grey: Path, tmp_path: Path) -> None:
    file = save(tmp_path / "x.png", picture(20, 24))
    compress.run(grey, [file], None, "cpu")
    result = acz("decompress", tmp_path / "x.png.acz", "--run", rgb, "-o", tmp_path / "out")
    assert result.exit_code == 2
    with AczReader(tmp_path / "x.png.acz") as reader:
        name = str(reader.header.codec["name"])
    assert name in shown(result)
    assert not (tmp_path / "out").exists()


# --- files unlike the training data -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype", "mode"),
    [((20, 24), "uint8", "L"), ((20, 24), "uint16", "I;16"), ((20, 24, 4), "uint8", "RGBA")],
)
def test_other_pictures_through_a_colour_codec(
    rgb: Path, tmp_path: Path, shape: tuple[int, ...], dtype: str, mode: str
) -> None:
    file = save(tmp_path / "x.png", picture(*shape, dtype=dtype))
    assert compress.run(rgb, [file], None, "cpu") == 0
    assert decompress.run([tmp_path / "x.png.acz"], tmp_path / "out", None, "cpu") == 0
    with Image.open(tmp_path / "out" / "x.png") as restored:
        assert (restored.size, restored.mode) == ((24, 20), mode)


def test_colour_into_a_grey_codec_is_refused(grey: Path, tmp_path: Path) -> None:
    save(tmp_path / "x.png", picture(20, 24, 3))
    result = acz("compress", grey, tmp_path / "x.png", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "the picture has 3 channels, the codec takes 1" in shown(result)
    assert not list(tmp_path.rglob("*.acz"))


def test_other_channels_into_a_joint_codec_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "a.npy", RNG.normal(size=(400, 3)))
    run = trained(
        tmp_path, "type: array, channels: joint, window: {samples: 16}, normalizer: {type: revin}", CODEC_1D
    )
    np.save(tmp_path / "four.npy", RNG.normal(size=(40, 4)))
    result = acz("compress", run, tmp_path / "four.npy", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "4 channels, the codec was trained on 3" in shown(result)
    np.save(tmp_path / "three.npy", RNG.normal(size=(40, 3)))
    assert compress.run(run, [tmp_path / "three.npy"], None, "cpu") == 0


def test_arrays_keep_gaps_infinities_and_type(arrays: Path, tmp_path: Path) -> None:
    x = np.cumsum(RNG.normal(size=(2, 3, 70)), axis=-1).astype(np.float32)
    x[0, 1, 5:9], x[1, 2, :] = np.nan, np.nan
    x[0, 0, 3] = -np.inf
    np.save(tmp_path / "x.npy", x)
    compress.run(arrays, [tmp_path / "x.npy"], None, "cpu")
    decompress.run([tmp_path / "x.npy.acz"], tmp_path / "out", None, "cpu")
    back = np.load(tmp_path / "out" / "x.npy")
    assert (back.shape, back.dtype) == (x.shape, x.dtype)
    np.testing.assert_array_equal(np.isnan(back), np.isnan(x))
    np.testing.assert_array_equal(back[np.isinf(x)], x[np.isinf(x)])
    codec = anycodec.load(arrays, device="cpu")
    for signal, restored in zip(x, back, strict=True):
        np.testing.assert_array_equal(codec.decode(codec.encode(signal.T)), restored.T)


def test_values_beyond_single_precision_are_refused(arrays: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((1, 3, 40), 1e300))
    result = acz("compress", arrays, tmp_path / "x.npy", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "1e+300" in shown(result)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_long_tables_keep_rows_in_order(tmp_path: Path, suffix: str) -> None:
    rows = 600
    frame = pd.DataFrame({
        "date": pd.date_range("2024-01-01", periods=rows // 3, freq="h").repeat(3),
        "id": ["a", "b", "c"] * (rows // 3),
        "value": np.cumsum(RNG.normal(size=rows)).round(3),
        "count": RNG.integers(0, 100, rows),
        "note": RNG.choice(["", "ü, é"], rows),
    })  # fmt: skip
    frame.loc[5:50, "value"] = np.nan
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / f"long{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    original = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    run = trained(
        tmp_path, "type: table, series_id: id, window: {samples: 16}, normalizer: {type: revin}", CODEC_1D
    )
    assert compress.run(run, [path], tmp_path / "packed", "cpu") == 0
    assert decompress.run([tmp_path / "packed" / f"{path.name}.acz"], tmp_path / "out", None, "cpu") == 0
    out = tmp_path / "out" / path.name
    back = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
    exact = ["date", "id", "note"]
    pd.testing.assert_frame_equal(back[exact], original[exact])
    pd.testing.assert_series_equal(back.dtypes, original.dtypes)
    assert back["value"].isna().equals(original["value"].isna())
    assert back["value"].corr(original["value"]) > 0.9


# --- a full disk ------------------------------------------------------------------------------------


def test_a_full_disk_leaves_no_file(arrays: Path, tmp_path: Path, small_disk: Path) -> None:
    np.save(tmp_path / "x.npy", RNG.normal(size=(2, 3, 200_000)))
    result = acz("compress", arrays, tmp_path / "x.npy", "-o", small_disk)
    assert result.exit_code == 2
    assert "no space left on the disk while writing x.npy.acz" in shown(result)
    assert not list(small_disk.rglob("*"))
    compress.run(arrays, [tmp_path / "x.npy"], None, "cpu")
    with pytest.raises(ResourceError, match="no space left"):
        decompress.run([tmp_path / "x.npy.acz"], small_disk, None, "cpu")
    assert not list(small_disk.rglob("*"))


def test_a_full_disk_while_training_says_so(arrays: Path, small_disk: Path) -> None:
    result = acz("train", arrays / "config.yaml", "-o", small_disk / "run", "--quiet")
    assert result.exit_code == 2
    assert "no space left" in shown(result)


def test_wrong_file_types_are_refused(rgb: Path, arrays: Path, tmp_path: Path) -> None:
    file = save(tmp_path / "x.png", picture(20, 24, 3))
    with pytest.raises(DataError, match=r"\.npy"):
        compress.run(arrays, [file], tmp_path / "out", "cpu")
    with pytest.raises(FormatError):
        decompress.run([file], tmp_path / "out", rgb, "cpu")
    assert not (tmp_path / "out").exists()
