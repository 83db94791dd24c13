"""Rates, ratios and qualities: what files come to, and what they say of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from token_runs import train_arrays
from typer.testing import CliRunner, Result

import anycodec
from anycodec.bitstream import restoration
from anycodec.bitstream.container import AczReader, AczWriter, Bound
from anycodec.bitstream.grid import Grid
from anycodec.cli import app
from anycodec.errors import UserError
from anycodec.types import FileInfo, Signal, SignalInfo
from anycodec.workflows import compress
from anycodec.workflows.compress import make_header
from anycodec.workflows.levels import for_file, operating_points, with_levels
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.rate import Measured, Target, make_target
from anycodec.workflows.within_bound import BoundedEncoder, make_bound

STAGES = (
    "{type: residual, stages: 3, dropout: 0.5, quantizer: {type: vq, codebook_size: 16, kmeans_after: 0}}"
)
GOLDEN = Path(__file__).parents[1] / "golden" / "acz_v1"


def acz(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec of walks in two channels, with three residual stages."""
    folder = tmp_path_factory.mktemp("stages")
    (folder / "data").mkdir()
    np.save(folder / "data" / "a.npy", walk(6000))
    return train_arrays(folder, STAGES)


@pytest.fixture(scope="module")
def pipeline(run: Path) -> Pipeline:
    return Pipeline.open(run, "cpu")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    np.save(tmp_path / "b.npy", walk(5000))
    return tmp_path / "b.npy"


def walk(length: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(length, 2)).cumsum(axis=0).astype(np.float32)


def test_first_levels_are_those_of_the_whole_codec(pipeline: Pipeline) -> None:
    assert operating_points(pipeline) == (1, 2, 3)
    windows = np.random.default_rng(0).normal(size=(5, 1, 32)).astype(np.float32)
    whole = pipeline.codec.encode(windows)
    restored = [pipeline.codec.decode(whole)]
    for levels in (2, 1):
        shorter = with_levels(pipeline, levels)
        tokens = shorter.codec.encode(windows)
        assert tokens.codebook_sizes == shorter.coder.codebook_sizes == (16,) * levels
        for one, other in zip(tokens.grids, whole.grids, strict=False):
            np.testing.assert_array_equal(one, other)
        restored.append(shorter.codec.decode(tokens))
    assert not np.allclose(restored[0], restored[1])
    assert not np.allclose(restored[1], restored[2])
    assert len(pipeline.codec.codebook_sizes) == 3


def test_both_engines_restore_the_first_levels_alike(
    run: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jax")
    monkeypatch.setenv("ANYCODEC_ENGINE", "jax")
    other = Pipeline.open(run, "cpu")
    windows = np.random.default_rng(0).normal(size=(5, 1, 32)).astype(np.float32)
    for levels in (2, 1):
        tokens = with_levels(pipeline, levels).codec.encode(windows)
        restored = [with_levels(each, levels).codec.decode(tokens) for each in (pipeline, other)]
        np.testing.assert_allclose(restored[1], restored[0], atol=1e-4)


def test_codecs_without_stages_have_one_point() -> None:
    assert operating_points(Pipeline.open(GOLDEN / "table" / "run", "cpu")) == (1,)


def bits_of(packed: Path) -> float:
    with AczReader(packed) as reader:
        return 8 * reader.size / reader.totals.values


@pytest.mark.parametrize("asked", ["1.2", "5bpv"])
def test_a_rate_is_kept_to(run: Path, pipeline: Pipeline, source: Path, asked: str) -> None:
    done = acz("compress", run, source, "--rate", asked, "--device", "cpu")
    assert done.exit_code == 0, done.output
    packed = source.with_name("b.npy.acz")
    most = float(asked.removesuffix("bpv"))
    assert 0.6 * most < bits_of(packed) <= most
    assert f"{bits_of(packed):.4g} bits/value" in done.output
    assert acz("decompress", packed, "-o", source.parent / "out", "--device", "cpu").exit_code == 0
    found, values = np.load(source.parent / "out" / "b.npy"), np.load(source)
    error = 10 * math.log10(np.square(values - values.mean(axis=0)).sum() / np.square(values - found).sum())
    with AczReader(packed) as reader:
        entry = reader.header.rate
        assert entry["asked"] == f"--rate {most:g}"
        assert len(reader.header.codebook_sizes) == entry["levels"]
    assert (
        f"about {error:.0f}" in done.output
        or abs(error - float(done.output.split("about ")[1].split()[0])) < 3
    )


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--rate", "1.2bpv"], {"rate": "1.2bpv"}),
        (["--ratio", "20", "--statistics", "coarse"], {"ratio": 20, "statistics": "coarse"}),
    ],
)
def test_python_has_the_same_goals(
    run: Path, source: Path, options: list[str], settings: dict[str, Any]
) -> None:
    folder = source.parent
    assert acz("compress", run, source, *options, "-o", folder / "shell", "--device", "cpu").exit_code == 0
    assert anycodec.load(run, "cpu").compress(source, folder / "python", **settings) == 0
    assert (folder / "python" / "b.npy.acz").read_bytes() == (folder / "shell" / "b.npy.acz").read_bytes()
    with pytest.raises(UserError, match="exclude each other"):
        anycodec.load(run, "cpu").compress(source, folder / "python", rate=1, quality=20)


def test_dropped_stages_are_not_stored(pipeline: Pipeline, source: Path, tmp_path: Path) -> None:
    """The first level alone, and the file is read with the whole run."""
    from anycodec.workflows.compress import compress_file
    from anycodec.workflows.decompress import decompress_file

    sizes = {}
    for levels in (3, 1):
        point = with_levels(pipeline, levels).noting_rate({"asked": "", "levels": levels, "of": 3})
        compress_file(point, source, tmp_path / f"{levels}.acz")
        with AczReader(tmp_path / f"{levels}.acz") as reader:
            assert reader.header.requires == []
            assert reader.header.codebook_sizes == (16,) * levels
            assert {len(segment.streams) for _, segment in reader.records()} == {levels}
            sizes[levels] = reader.totals.token_bytes
            assert len(for_file(pipeline, reader.header).codec.codebook_sizes) == levels
        decompress_file(tmp_path / f"{levels}.acz", tmp_path / f"{levels}.npy", pipeline)
    assert sizes[1] < 0.5 * sizes[3]
    one, three = (np.load(tmp_path / f"{levels}.npy") for levels in (1, 3))
    assert one.shape == three.shape == np.load(source).shape
    assert not np.array_equal(one, three)


def test_points_cost_more_the_finer_they_are(pipeline: Pipeline, source: Path) -> None:
    measured = Measured(pipeline, source)
    bits = [point.bits for point in measured.tokens()]
    assert bits == sorted(bits)
    steps = [measured.step(number) for number in (-20, -8, 4)]
    assert [point.bits for point in steps] == sorted((point.bits for point in steps), reverse=True)
    assert [point.quality for point in steps] == sorted((point.quality for point in steps), reverse=True)


def test_a_ratio_and_a_quality(run: Path, source: Path) -> None:
    packed = source.with_name("b.npy.acz")
    assert acz("compress", run, source, "--ratio", "15", "--device", "cpu").exit_code == 0
    assert source.stat().st_size >= 15 * packed.stat().st_size
    packed.unlink()
    assert acz("compress", run, source, "--quality", "40", "--device", "cpu").exit_code == 0
    assert acz("decompress", packed, "-o", source.parent / "out", "--device", "cpu").exit_code == 0
    found, values = np.load(source.parent / "out" / "b.npy"), np.load(source)
    assert (
        10 * math.log10(np.square(values - values.mean(axis=0)).sum() / np.square(values - found).sum()) > 39
    )


@pytest.mark.parametrize("options", [["--rate", "0.001"], ["--ratio", "5000"], ["--quality", "500"]])
def test_what_is_out_of_reach_is_named_with_the_range(run: Path, source: Path, options: list[str]) -> None:
    done = acz("compress", run, source, *options, "--device", "cpu")
    assert done.exit_code == 2
    assert f"{options[0]} {float(options[1]):g} is out of reach: this run reaches" in done.output
    assert "bits/value (ratios of" in done.output
    assert not source.with_name("b.npy.acz").exists()


def test_options_that_make_no_sense(run: Path, source: Path) -> None:
    for arguments in (
        ("x", None, None),
        ("0", None, None),
        ("1..2", None, None),
        (None, -2, None),
        ("1", 2, None),
    ):
        with pytest.raises(UserError):
            make_target(*arguments)
    with pytest.raises(UserError, match="chooses a bound"):
        make_target("1", None, None, make_bound(0.5))
    assert make_target(None, None, None, make_bound(0.5)) is None
    assert make_target("0.5bpp", None, None) == Target("rate", 0.5, "pixel")
    done = acz("compress", run, source, "--rate", "0.5bpp")
    assert done.exit_code == 2
    assert "counted a value" in done.output


def test_reads_and_pictures_have_their_own_units(tmp_path: Path) -> None:
    pytest.importorskip("pod5")
    for kind, unit, bits in (("pod5", "sample", 16), ("image", "pixel", 24)):
        (source,) = [path for path in (GOLDEN / kind).iterdir() if path.suffix in (".pod5", ".png")]
        measured = Measured(Pipeline.open(GOLDEN / kind / "run", "cpu"), source)
        assert (measured.unit, measured.native_bits) == (unit, bits)


def test_a_bound_is_measured_by_what_will_code_it(tmp_path: Path) -> None:
    """Columns that follow each other are foretold from each other, here as in the file: a tenth less."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=3000).cumsum()
    values = np.stack([first, first + 0.1 * rng.normal(size=3000)], axis=1).round(3)
    rows = [f"2024-01-01 {i // 60 % 24:02d}:{i % 60:02d},{a:.3f},{b:.3f}" for i, (a, b) in enumerate(values)]
    (tmp_path / "a.csv").write_text("\n".join(["date,a,b", *rows]) + "\n")
    pipeline = Pipeline.open(GOLDEN / "table" / "run", "cpu")
    signal = Signal(info=SignalInfo(id="", axes="TC", shape=values.shape, dtype="float64"), values=values)
    bound = Bound(max_error=0.05)
    file = FileInfo(path="a.csv", format="table", n_signals=1)
    writer = AczWriter(tmp_path / "unused.acz", make_header(pipeline, file, bound), pipeline.coder)
    size, restored = BoundedEncoder(pipeline, writer, file, bound).estimate(signal)
    assert np.abs(restored - values).max() <= 0.05
    grid = Grid.fit(values, [0.05, 0.05], 1.0)
    assert grid is not None
    assert size < 0.9 * len(restoration.pack_plain(grid.numbers(values), grid, "TC"))
    assert compress.run_with(pipeline, [tmp_path / "a.csv"], tmp_path / "out", bound) == 0
    with AczReader(tmp_path / "out" / "a.csv.acz") as reader:
        assert reader.totals.residuals + reader.totals.side_information == pytest.approx(size, rel=0.01)
