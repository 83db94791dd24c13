import re
import subprocess
import sys
from dataclasses import replace

import acz_files as acz
import numpy as np
import pytest
from rich.console import Console

from anycodec.bitstream.container import AczReader, AczWriter, SegmentData
from anycodec.checkpoint import RunDirectory, write_arrays
from anycodec.config.codec import SimVqganSpec
from anycodec.config.data import ArraySource, Window1d
from anycodec.config.run import RunSpec
from anycodec.errors import DataError, FormatError, RunError
from anycodec.types import FileInfo, Tokens
from anycodec.workflows import inspect


@pytest.fixture
def show(monkeypatch):
    """Inspect a path and return the rows of text as {first column: rest}."""
    console = Console(width=200, record=True, highlight=False)
    monkeypatch.setattr(inspect, "console", console)

    def run(path) -> dict[str, str]:
        assert inspect.run(path) == 0
        lines = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in console.export_text().splitlines()]
        return {line[0]: line[1] for line in lines if len(line) == 2}

    return run


def test_acz_file(tmp_path, show):
    path = acz.write_small(tmp_path / "a.acz")
    size = path.stat().st_size
    with AczReader(path) as reader:
        sizes = reader.sizes()
    rows = show(path)
    assert rows["fingerprint"] == acz.FINGERPRINT
    assert rows["codec"] == "x: simvqgan + ema, torch"
    assert rows["signals"] == "2 in 4 segments, 8 windows"
    assert rows["samples"] == "192 (384 values)"
    assert rows["rate"].startswith(f"{8 * size / 384:.4g} bits/value")
    assert rows["ratio"].startswith(f"{384 * 2 / size:.4g} : 1 against 16-bit")
    for name, count in sizes.items():
        assert [f"{count:,}", f"{8 * count / 384:.4f}"] == [rows[name].split()[i] for i in (0, 2)] or (
            name == "tokens"
        )
    assert rows["total"].split()[0] == f"{size:,}"
    assert rows["total"].split()[-1] == f"{8 * size / 384:.4f}"


def test_acz_file_of_a_picture(tmp_path, show):
    path = tmp_path / "a.acz"
    picture = acz.make_info(0, id="", axes="HWC", shape=(20, 30, 3), dtype="uint8", rate=None)
    segment = SegmentData(start=0, length=1, tokens=Tokens((np.zeros((1, 4, 6), np.int64),), (64,)))
    with AczWriter(path, acz.make_header(), acz.make_coder()) as writer:
        writer.add(picture, segment)
    size = path.stat().st_size
    rows = show(path)
    assert rows["pictures"] == "1 (1,800 values)"
    assert rows["rate a pixel"] == f"{8 * size / 600:.4g} bits/pixel"
    assert rows["rate"].startswith(f"{8 * size / 1800:.4g} bits/value")


def test_damage_is_found_without_the_codec(tmp_path):
    path = acz.write_small(tmp_path / "a.acz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError, match="checksum"):
        inspect.run(path)


def test_foreign_text_is_not_obeyed(tmp_path, show):
    name = "\x1b[31mred[bold].csv"
    file = FileInfo(path=name, format="table", n_signals=0)
    with AczWriter(tmp_path / "a.acz", acz.make_header(source_name=name, file=file), acz.make_coder()):
        pass
    assert show(tmp_path / "a.acz")["original"] == "?[31mred[bold].csv (table)"


@pytest.fixture
def trained(tmp_path) -> RunDirectory:
    spec = RunSpec(
        name="demo",
        data=ArraySource(root=tmp_path, window=Window1d(samples=96)),
        codec=SimVqganSpec(quantizer={"type": "ema", "codebook_size": 8}),
    )
    run = RunDirectory(tmp_path / "run")
    run.create(spec)
    write_arrays(run.weights, {"a": np.zeros((3, 5), "f4"), "b": np.zeros(7, "f4")})
    counts = np.array([4, 4, 0, 0, 0, 0, 0, 0])
    run.write_statistics({"normalizer.shift": np.array([[1.5]], "f4"), "token_counts.0": counts})
    run.update_manifest(
        anycodec="0.1.0", in_channels=1, codebook_sizes=[8], fingerprint="f" * 64,
        data={"counts": {"train_windows": 40}},
        training={
            "steps": 100, "best": {"metric": "val/snr", "value": 9.25}, "seconds": 3.0,
            "data_wait": 0.01, "samples_per_second": 5000,
        },
        metrics={"snr": 10.5},
    )  # fmt: skip
    return run


def test_run_directory(trained, show):
    rows = show(trained.path)
    assert rows["codec"] == "simvqgan + ema, torch"
    assert rows["window"] == "96, overlap 0"
    assert rows["token grid"] == "8 a window, one token every 12"
    assert rows["nominal rate"].startswith("0.25 bits/value")
    assert rows["weights"].startswith("22 numbers in 2 tensors")
    assert rows["level 0"] == "8 training tokens, 2 of 8 codes, 1 bits a token"
    assert rows["normalizer.shift"] == "1.5"
    assert rows["trained"] == "100 steps, 3 s"
    assert rows["best"] == "val/snr 9.25"
    assert rows["snr"] == "10.5"


def test_run_that_has_only_begun(trained, show):
    trained.weights.unlink()
    trained.statistics.unlink()
    trained.manifest.unlink()
    assert show(trained.path)["weights"] == "none yet"


def test_damaged_weights(trained):
    trained.weights.write_bytes(b"\xff" * 100)
    with pytest.raises(RunError, match=r"weights\.safetensors"):
        inspect.run(trained.path)


def test_native_file(tmp_path, show):
    np.save(tmp_path / "a.npy", np.zeros((50, 3), np.float32))
    rows = show(tmp_path / "a.npy")
    assert rows["format"] == "array"
    assert rows["samples"] == "50"


def test_what_is_neither(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        inspect.run(tmp_path / "missing")
    with pytest.raises(RunError, match="not a run"):
        inspect.run(tmp_path)
    (tmp_path / "a.xyz").write_bytes(b"abc")
    with pytest.raises(DataError, match="unknown kind"):
        inspect.run(tmp_path / "a.xyz")


@pytest.mark.parametrize("kind", ["acz", "run", "npy"])
def test_no_framework_is_imported(tmp_path, trained, kind):
    np.save(tmp_path / "a.npy", np.zeros((50, 3), np.float32))
    path = {"acz": acz.write_small(tmp_path / "a.acz"), "run": trained.path, "npy": tmp_path / "a.npy"}[kind]
    code = (
        "import sys; from pathlib import Path; from anycodec.workflows import inspect; "
        f"inspect.run(Path({str(path)!r})); "
        "assert not {'torch', 'pytorch_lightning', 'jax', 'matplotlib'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.realdata
def test_reads_cost_few_bytes_beside_their_tokens(tmp_path, real_data):
    """Every field of real reads, in less than 100 bytes a read."""
    pytest.importorskip("pod5")
    from anycodec.io.formats import default_source, open_file

    segment = replace(acz.make_segment(np.random.default_rng(0)), mask=None, attachments={})
    source = real_data / "nanopore" / "r94_klebsiella_deepnano.pod5"
    with open_file(source, default_source("pod5")) as reader:
        infos = list(reader.signals())
    with AczWriter(tmp_path / "a.acz", acz.make_header(), acz.make_coder()) as writer:
        for info in infos:
            writer.add(info, segment)
    with AczReader(tmp_path / "a.acz") as packed:
        assert [info for info, _ in packed.records()] == infos
        assert packed.totals.metadata / len(infos) < 100
