"""Nanopore reads that recordings really hold and that could go wrong, through training, files and back."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pod5
import pytest
from typer.testing import CliRunner

from anycodec.cli import app
from anycodec.config.data import Pod5Source
from anycodec.config.loader import load_spec
from anycodec.data.catalog import scan
from anycodec.data.loader import find_signals
from anycodec.data.resample import Resampled, open_at_rate
from anycodec.data.split import Piece
from anycodec.errors import ConfigError, Notice
from anycodec.io.formats import open_file
from anycodec.workflows.native import Named, NativeWriter, describe_native
from anycodec.workflows.sample_sets import Layout, load
from unit.test_io_pod5 import RUN

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")

DNA = replace(
    RUN, acquisition_id="dna", sequencing_kit="sqk-lsk114", context_tags={"experiment_type": "genomic_dna"}
)
RNA = replace(RUN, acquisition_id="rna", sequencing_kit="sqk-rna004", context_tags={"experiment_type": "rna"})
SLOW = replace(RUN, acquisition_id="slow", sample_rate=4000)
CONFIG = """\
name: tiny
data: {type: pod5, window: {samples: 96}, workers: 0, split: {type: signal}}
codec:
  type: simvqgan
  base_channels: 8
  stem_stride: 4
  channels: [8]
  strides: [2]
  res_blocks: 1
  mid_blocks: 0
  latent_channels: 8
  norm_groups: 4
  quantizer: {type: ema, codebook_size: 16, kmeans_after: 0}
train: {steps: 2, batch_size: 4, val_every: 2, val_batches: 1, device: cpu, threads: 1}
"""


@dataclass(frozen=True)
class Read:
    signal: np.ndarray
    run: pod5.RunInfo = RUN
    scale: float = 0.2


def write(path: Path, *reads: Read) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pod5.Writer(path) as writer:
        for number, read in enumerate(reads):
            writer.add_read(
                pod5.Read(
                    read_id=UUID(int=number + 1),
                    pore=pod5.Pore(1, 1, "not_set"),
                    calibration=pod5.Calibration(-3.0, read.scale),
                    read_number=number,
                    start_sample=0,
                    median_before=0.0,
                    end_reason=pod5.EndReason(pod5.EndReasonEnum.UNKNOWN, False),
                    run_info=read.run,
                    signal=read.signal,
                )
            )
    return path


def squiggle(length: int = 960, seed: int = 0) -> np.ndarray:
    """Levels of 12 samples with noise."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(500, 80, -(-length // 12)).repeat(12)[:length]
    return (levels + rng.normal(0, 8, length)).astype(np.int16)


def usual(count: int, run: pod5.RunInfo = RUN) -> list[Read]:
    return [Read(squiggle(seed=seed), run) for seed in range(count)]


def signals(path: Path) -> list[np.ndarray]:
    with pod5.Reader(path) as reader:
        return [read.signal for read in reader.reads()]


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(CONFIG)
    return path


def found(root: Path, **settings: object):
    return find_signals(Pod5Source(root=root, **settings))


# --- values -------------------------------------------------------------------------------------


def test_odd_reads_train_and_come_back_as_long_as_they_were(config: Path, tmp_path: Path) -> None:
    """Shorter than the window and the stride, without samples, silent, stuck at either end, and both."""
    limits = np.iinfo(np.int16)
    odd = [
        np.array([517], np.int16),
        squiggle(95),
        np.zeros(0, np.int16),
        np.zeros(500, np.int16),
        np.full(300, limits.max, np.int16),
        np.full(300, limits.min, np.int16),
        np.tile([limits.min, limits.max], 200).astype(np.int16),
        np.where(np.arange(960) < 800, limits.max, squiggle()).astype(np.int16),
    ]
    path = write(tmp_path / "reads" / "odd.pod5", *usual(8), *map(Read, odd))
    done = run("train", config, f"data.root={path.parent}", "-o", tmp_path / "run", "-q")
    assert done.exit_code == 0, done.output
    packed = run("compress", tmp_path / "run", path, "-o", tmp_path / "packed")
    assert packed.exit_code == 0, packed.output
    back = run("decompress", tmp_path / "packed", "-o", tmp_path / "back", "--run", tmp_path / "run")
    assert back.exit_code == 0, back.output
    (restored,) = (tmp_path / "back").rglob("*.pod5")
    original, after = signals(path), signals(restored)
    assert [len(signal) for signal in after] == [len(signal) for signal in original]
    for silent in (11, 12, 13):
        assert np.abs(after[silent].astype(int) - original[silent]).max() <= 25, "5 pA of a constant current"


@pytest.mark.parametrize("scale", [0.0, np.nan])
def test_reads_without_calibration_are_left_out_of_training_and_named(
    config: Path, tmp_path: Path, scale: float
) -> None:
    root = tmp_path / "reads"
    path = write(root / "bad.pod5", Read(squiggle(), scale=scale), *usual(2))
    write(root / "good.pod5", *usual(8))
    catalog = found(root)
    assert [(entry.path, entry.id[-2:]) for entry in catalog.entries][:2] == [
        (str(path), "02"),
        (str(path), "03"),
    ]
    (left_out,) = catalog.skipped
    assert (left_out.path, left_out.reason) == (str(path), "1 of 3 signals: no usable calibration")
    done = run("train", config, f"data.root={root}", "-o", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert f"left out: {path}: 1 of 3 signals: no usable calibration" in one_line(done.output)
    packed = run("compress", tmp_path / "run", root, "-o", tmp_path / "packed")
    assert packed.exit_code == 2
    said = one_line(packed.output)
    named = "read 00000000-0000-0000-0000-000000000001 has a calibration that can't be inverted: offset -3, "
    assert f"{path}: {named}scale {scale:g}" in said
    assert [path.name for path in (tmp_path / "packed").rglob("*.acz")] == ["good.pod5.acz"]


# --- rates --------------------------------------------------------------------------------------


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    write(tmp_path / "reads" / "fast.pod5", *usual(4))
    write(tmp_path / "reads" / "mixed.pod5", *usual(2, SLOW), *usual(1))
    write(tmp_path / "reads" / "slow.pod5", *usual(3, SLOW))
    return tmp_path / "reads"


def test_mixed_rates_are_refused_with_files_and_rates(config: Path, rates: Path, tmp_path: Path) -> None:
    asked = (f"data.root={rates}", "data.sample_rate=5000")
    done = run("train", config, *asked, "-o", tmp_path / "run")
    assert done.exit_code == 2
    said = one_line(done.output)
    assert "5 of 10 reads were not sampled at data.sample_rate 5000 Hz" in said
    assert f"{rates / 'mixed.pod5'} (2 at 4000 Hz); {rates / 'slow.pod5'} (3 at 4000 Hz)" in said
    assert "data.rates=skip" in said
    assert "data.rates=resample" in said
    assert not (tmp_path / "run").exists()


def test_mixed_rates_are_left_out_or_converted_or_nobody_asked(rates: Path) -> None:
    skipped = found(rates, sample_rate=5000, rates="skip")
    assert [entry.length for entry in skipped.entries] == [960] * 5
    assert [item.reason for item in skipped.skipped] == [
        "2 of 3 signals: sampled at 4000 Hz, not at data.sample_rate 5000 Hz",
        "3 of 3 signals: sampled at 4000 Hz, not at data.sample_rate 5000 Hz",
    ]
    converted = found(rates, sample_rate=5000, rates="resample")
    assert [entry.length for entry in converted.entries] == [960] * 4 + [1200, 1200, 960] + [1200] * 3
    assert not converted.skipped
    assert [entry.length for entry in found(rates).entries] == [960] * 10


def test_a_converted_training_is_evaluated_on_what_it_was_trained_on(
    config: Path, rates: Path, tmp_path: Path
) -> None:
    asked = (f"data.root={rates}", "data.sample_rate=5000", "data.rates=resample")
    done = run("train", config, *asked, "-o", tmp_path / "run", "-q")
    assert done.exit_code == 0, done.output
    measured = run("evaluate", tmp_path / "run")
    assert measured.exit_code == 0, measured.output
    packed = run("compress", tmp_path / "run", rates / "slow.pod5", "-o", tmp_path / "packed")
    assert packed.exit_code == 0, packed.output
    back = run("decompress", tmp_path / "packed", "-o", tmp_path / "back", "--run", tmp_path / "run")
    assert back.exit_code == 0, back.output
    (restored,) = (tmp_path / "back").rglob("*.pod5")
    assert [len(signal) for signal in signals(restored)] == [960] * 3, "files keep their own rate"
    with pod5.Reader(restored) as reader:
        assert {read.run_info.sample_rate for read in reader.reads()} == {4000}


def test_generated_reads_have_the_rate_that_they_were_learned_at(rates: Path, tmp_path: Path) -> None:
    source = Pod5Source(root=rates, sample_rate=5000, rates="resample")
    catalog = scan(sorted(rates.iterdir()), source, open_at_rate)
    slow = Piece(catalog.entries[-1], 0, 1200)
    native = describe_native(slow, source)
    assert native["rate"] == 5000
    values = np.full((1, 500), 80, np.float32)
    (path,) = NativeWriter(native).write(tmp_path, [Named("a", values)], "g")
    with pod5.Reader(path) as reader:
        assert [read.run_info.sample_rate for read in reader.reads()] == [5000]
    layout = Layout(jet=False, channels=1, length=1200)
    (window,) = load([slow], source, layout, [""], "real").values
    with open_at_rate(Path(slow.path), source) as opened:
        np.testing.assert_array_equal(window, opened.fetch(slow.signal, 0, 1200).values.T)


@pytest.mark.parametrize(("old", "new"), [(4000, 5000), (5000, 4000), (3012, 4000)])
def test_a_sine_keeps_its_frequency_and_height(tmp_path: Path, old: int, new: int) -> None:
    """A tone of 100 Hz is the same tone at the other rate; one above the new Nyquist frequency is gone."""
    seconds = np.arange(old) / old
    tones = [2000 * np.sin(2 * np.pi * hertz * seconds) for hertz in (100, 0.48 * old)]
    slow = replace(RUN, sample_rate=old)
    path = write(tmp_path / "a.pod5", *(Read(tone.round().astype(np.int16), slow, 1.0) for tone in tones))
    source = Pod5Source(sample_rate=new, rates="resample")
    with open_at_rate(path, source) as reader:
        assert [(info.rate, info.shape) for info in reader.signals()] == [(new, (new, 1))] * 2
        tone, high = (reader.fetch(index, 0, new).values[:, 0] for index in range(2))
    inner = slice(50, -50)
    expected = 2000 * np.sin(2 * np.pi * 100 * np.arange(new) / new) - 3
    np.testing.assert_allclose(tone[inner], expected[inner], atol=4)
    if new < old:
        assert np.abs(high[inner] + 3).max() < 60


def test_any_stretch_is_that_of_the_whole(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.pod5", Read(squiggle(997), replace(RUN, sample_rate=3012)), Read(squiggle(7), SLOW)
    )
    with open_file(path, Pod5Source()) as native:
        reader = Resampled(native, 5000)
        for index, info in enumerate(reader.signals()):
            whole = reader.fetch(index, 0, info.length)
            assert whole.values.shape == info.shape
            for start, stop in ((0, 1), (3, 9), (400, 1100), (info.length - 1, info.length + 5)):
                part = reader.fetch(index, start, stop).values
                np.testing.assert_allclose(part, whole.values[start:stop], rtol=1e-5, atol=1e-4)
        blocks = [part.values for part in reader.segments(300) if part.info.id.endswith("1")]
        np.testing.assert_allclose(
            np.concatenate(blocks), reader.fetch(0, 0, 10**6).values, rtol=1e-5, atol=1e-4
        )


# --- molecules ----------------------------------------------------------------------------------


def test_dna_and_rna_together_are_warned_of_until_one_chooses(tmp_path: Path) -> None:
    root = tmp_path / "reads"
    write(root / "a.pod5", *usual(5, DNA), *usual(1))
    write(root / "b.pod5", *usual(2, RNA))
    with pytest.warns(Notice, match="mixes molecules: 5 of DNA and 2 of RNA.*data.molecule=dna, rna or both"):
        assert len(found(root).entries) == 8
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        assert len(found(root, molecule="both").entries) == 8
        dna, rna = found(root, molecule="dna"), found(root, molecule="rna")
    assert (len(dna.entries), len(rna.entries)) == (6, 3), "a read whose record tells nothing is kept"
    assert [item.reason for item in dna.skipped] == ["2 of 2 signals: RNA, not data.molecule dna"]
    assert [item.reason for item in rna.skipped] == ["5 of 6 signals: DNA, not data.molecule rna"]


# --- the configuration --------------------------------------------------------------------------


def test_strides_that_do_not_mirror_are_named_with_both_lists(config: Path) -> None:
    said = r"channels has 2 stages and strides 3, \[8, 8\] and \[2, 2, 3\]: give both the same number"
    with pytest.raises(ConfigError, match=said):
        load_spec(config, ["codec.channels=[8,8]", "codec.strides=[2,2,3]"], check_paths=False)
