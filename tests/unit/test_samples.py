"""`anycodec samples`: what lies in the folder afterwards, as the formats' own libraries see it."""

import av
import numpy as np
import pandas as pd
import pod5
import pytest
from PIL import Image

from anycodec.data.samples import gait, images, leaves, nanopore, series, video
from anycodec.errors import UserError
from anycodec.workflows import samples

KINDS = ("nanopore", "series", "gait", "images", "video")


@pytest.fixture
def few(monkeypatch):
    """The same files, fewer of them."""
    monkeypatch.setitem(nanopore.PLANS, "small", nanopore.Plan(2, 1, 3, 12_000))
    monkeypatch.setitem(gait.PLANS, "small", gait.Plan(1, 2))
    monkeypatch.setitem(images.PLANS, "small", images.Plan(2, 1, 1))
    monkeypatch.setitem(video.CLIPS, "small", 2)


def test_pod5_library_reads_what_was_simulated(tmp_path, few):
    assert samples.run("nanopore", tmp_path / "reads", seed=5) == 0
    for file in nanopore.files(5, "small"):
        with pod5.Reader(tmp_path / "reads" / file.path) as reader:
            found = list(reader.reads())
            assert [str(read.read_id) for read in found] == [read.id for read in file.reads]
            for read, made in zip(found, file.reads, strict=True):
                np.testing.assert_array_equal(read.signal, made.adc)
                assert read.calibration.offset == made.offset
                assert read.calibration.scale == pytest.approx(0.18707, abs=1e-5)
                assert (read.pore.channel, read.pore.well) == (made.channel, made.well)
                assert read.pore.pore_type == "r10.4.1"
                assert read.end_reason.name == made.end_reason
                assert read.end_reason.forced == made.forced
                assert (read.start_sample, read.read_number) == (made.start, made.number)
                assert read.run_info.sample_rate == 5000
                assert read.run_info.flow_cell_product_code == "FLO-PRO114M"
                assert read.run_info.sequencing_kit == "sqk-lsk114"
                assert 0 <= read.signal.min() <= read.signal.max() <= read.run_info.adc_max
                assert 80 < np.median(read.signal_pa) < 125
    runs = {path.parent.name for path in (tmp_path / "reads").rglob("*.pod5")}
    assert runs == {"run_1", "run_2"}


def test_pandas_reads_series(tmp_path):
    samples.run("series", tmp_path, seed=5)
    wide = pd.read_csv(tmp_path / "north.csv", parse_dates=["date"])
    assert len(wide) == 30 * 96
    assert (wide["date"].diff().dropna() == pd.Timedelta("15min")).all()
    assert wide["starts"].dtype == np.int64
    assert set(wide["status"]) <= {"ok", "fault", "maintenance"}
    measured = wide[list(series.CHANNELS)]
    assert measured.isna().any().all()
    assert measured.isna().mean().max() < 0.15
    long = pd.read_parquet(tmp_path / "long" / "meters.parquet")
    assert long.groupby("meter").size().to_dict() == dict.fromkeys(series.METERS, 30 * 96)
    assert long["power"].dtype == np.float64


def test_csv_holds_the_simulated_values_exactly(tmp_path):
    samples.run("series", tmp_path, seed=6)
    table = next(series.tables(6, "small"))
    wide = pd.read_csv(tmp_path / table.path)
    for name in series.CHANNELS:
        np.testing.assert_array_equal(wide[name], table.columns[name])


def test_pillow_reads_pictures(tmp_path, few):
    samples.run("images", tmp_path, seed=5)
    modes = {}
    for made in images.pictures(5, "small"):
        with Image.open(tmp_path / made.path) as picture:
            assert picture.size == (256, 256)
            modes[made.path] = picture.mode
            np.testing.assert_array_equal(np.asarray(picture), made.pixels)
    assert modes == {
        "rgb_0001.png": "RGB",
        "rgb_0002.png": "RGB",
        "grey_0001.png": "L",
        "deep_0001.png": "I;16",
    }


def test_gait_pictures_lie_in_a_folder_a_user(tmp_path, few):
    samples.run("gait", tmp_path, seed=5)
    assert {path.name for path in tmp_path.iterdir()} == {f"ID_{user}" for user in range(1, 32)}
    assert sorted(path.name for path in (tmp_path / "ID_7").iterdir()) == ["0001.png", "0002.png"]
    with Image.open(tmp_path / "ID_31" / "0002.png") as picture:
        assert (picture.size, picture.mode) == ((256, 256), "RGB")


def test_pyav_reads_clips(tmp_path, few):
    samples.run("video", tmp_path, seed=5)
    for clip, size in zip(video.clips(5, "small"), ((128, 128), (160, 120)), strict=True):
        with av.open(str(tmp_path / clip.path)) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height) == size
            assert stream.average_rate == 25
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert len(frames) == 64
        error = np.mean((np.stack(frames).astype(float) - clip.frames) ** 2)
        assert 10 * np.log10(255**2 / error) > 38


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_command_is_shown(kind, tmp_path, few, capsys):
    samples.run(kind, tmp_path / "out")
    shown = capsys.readouterr().out
    assert "next: anycodec train configs/" in shown
    assert str(tmp_path / "out") in shown


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not empty"):
        samples.run("nanopore", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_other_refusals(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="in the way"):
        samples.run("series", tmp_path / "file")
    with pytest.raises(UserError, match=r"one of nanopore, series, gait, images, video"):
        samples.run("sound", tmp_path / "new")
    with pytest.raises(UserError, match="unknown size"):
        samples.run("series", tmp_path / "new", size="huge")
    assert not (tmp_path / "new").exists()


def test_same_seed_same_series_other_seed_other_series():
    one, again, other = (next(series.tables(seed, "small")).columns for seed in (1, 1, 2))
    for name in one:
        np.testing.assert_array_equal(one[name], again[name])
    assert not np.array_equal(one["load_kw"], other["load_kw"], equal_nan=True)


def test_series_have_days_and_move_together():
    """Means over seeds: a clear line at one cycle a day, and correlated channels."""
    runs = [series.simulate(28 * 96, 6, np.random.default_rng(seed)) for seed in range(5)]
    correlations = [np.abs(np.corrcoef(run.T)[np.triu_indices(6, 1)]).mean() for run in runs]
    assert np.mean(correlations) > 0.25
    power = np.mean([np.abs(np.fft.rfft(run, axis=0)) ** 2 for run in runs], axis=(0, 2))
    assert power[28] > 5 * np.median(power[20:40])


def test_noise_of_series_changes_its_strength():
    """Squared steps are correlated over hours, as in no noise of constant strength."""
    steps = np.diff(series.simulate(60 * 96, 1, np.random.default_rng(0))[:, 0]) ** 2
    assert np.corrcoef(steps[:-8], steps[8:])[0, 1] > 0.1


def test_pictures_have_the_spectrum_of_natural_ones():
    """Amplitudes fall about as 1/f: 256x256 parts of twelve Kodak pictures have slopes of -0.62 to -1.37."""
    pictures = [images.scene(np.random.default_rng(seed)).mean(axis=2) for seed in range(3)]
    assert -1.37 < np.mean([amplitude_slope(picture) for picture in pictures]) < -0.62


def test_same_seed_same_pictures(few):
    one, again, other = (next(images.pictures(seed, "small")).pixels for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_same_seed_same_clips(few):
    one, again, other = (next(video.clips(seed, "small")).frames for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_leaf_covers_its_area():
    canvas, flat = np.zeros((128, 128, 3)), np.zeros((256, 256))
    white = leaves.Leaf((64.0, 64.0), (30.0, 20.0), 0.7, 2.0, (1.0, 1.0, 1.0), 0.0, 0.0, (0.0, 0.0))
    leaves.paint(canvas, white, flat)
    assert canvas[..., 0].sum() == pytest.approx(np.pi * 30 * 20, rel=0.02)


def test_objects_bounce_inside_the_frame():
    leaf = leaves.Leaf((10.0, 100.0), (5.0, 5.0), 0.0, 2.0, (1.0, 1.0, 1.0), 0.0, 0.0, (0.0, 0.0))
    assert video._moved(leaf, np.array([-15.0, 40.0]), 0.0, (120, 128)).centre == pytest.approx((5, 116))


def test_clips_move():
    frames = video.simulate(64, 64, np.random.default_rng(0)).astype(float)
    still, late = np.abs(frames[1] - frames[0]).mean(), np.abs(frames[40] - frames[0]).mean()
    assert 1 < still < late


def amplitude_slope(picture):
    """Exponent of the mean amplitude against frequency, over octaves from 4 to 128 cycles a picture."""
    window = np.hanning(256)
    power = np.abs(np.fft.fft2((picture - picture.mean()) * window * window[:, None])) ** 2
    cycles = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)) * 256
    octaves = 2.0 ** np.arange(2, 7)
    means = [power[(cycles >= low) & (cycles < 2 * low)].mean() for low in octaves]
    return np.polyfit(np.log(octaves), np.log(means), 1)[0] / 2
