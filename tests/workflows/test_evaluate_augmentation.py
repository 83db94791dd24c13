"""Folders of real and generated files through both verbs."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from anycodec.cli import app
from anycodec.config.data import ImageSource
from anycodec.data.samples.gait import jet
from anycodec.errors import DataError, UserError
from anycodec.metrics.classification import LinearDiscriminant, accuracy
from anycodec.workflows import evaluate_augmentation as workflow
from anycodec.workflows.sample_sets import common_classes, find_layout, find_pieces, find_split, load
from anycodec.workflows.study import spectra

RNG = np.random.default_rng(0)
QUICK = ["--seeds", "1", "--steps", "4", "--budgets", "2,50", "--multiples", "1,2,9"]


def write_pictures(folder, count: int, *, classes=("ID_1", "ID_2"), size=(40, 48), colour=True, noise=0.05):
    """Bright rows, another one for each class, in the colours of radar pictures or grey."""
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            levels = RNG.uniform(0, noise, size=size)
            levels[10 + 15 * place + i % 3] = 0.9
            pixels = jet(levels) if colour else np.rint(255 * levels).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i + 1}.png")
    return folder


def write_series(folder, count: int, length: int, classes=("",)):
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            t = np.arange(length) + RNG.uniform(0, 20)
            rows = np.stack([np.sin(0.4 * t), np.cos(0.4 * t)], axis=1) + RNG.normal(0, 0.05, (length, 2))
            lines = ["x,y", *(f"{a:.4f},{b:.4f}" for a, b in rows)]
            (folder / name / f"{i}.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return write_pictures(folder / "real", 30), write_pictures(folder / "made", 5)


def invoke(verb, real, made, out, *more):
    arguments = [verb, "--real", real, "--synthetic", made, "-o", out, "--device", "cpu", *more]
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_an_augmentation_study_of_pictures(pictures, tmp_path):
    found = invoke("evaluate-augmentation", *pictures, tmp_path / "out", *QUICK)
    assert found.exit_code == 0, found.output
    result = json.loads((tmp_path / "out" / "augmentation.json").read_text())
    assert result["classes"] == ["ID_1", "ID_2"]
    # of 30: 26 after one guard of 4 ... 22 after two, divided 60 / 10 / 30
    assert result["counts"] == {"train": 26, "val": 4, "test": 14, "generated": 10}
    names = {(arm["classifier"], arm["name"], arm["budget"]) for arm in result["arms"]}
    assert ("cnn", "real + 2x generated", 2) in names
    assert ("lda", "TSTR", None) in names
    whole = [arm for arm in result["arms"] if (arm["classifier"], arm["name"]) == ("lda", "TRTR")]
    assert whole[0]["accuracies"] == [1]  # bright rows at two places
    assert not any(budget == 50 or "9x" in name for _, name, budget in names)
    assert result["notes"] == [
        "budget 50: a class has fewer training samples",
        "9x generated: a class has only 5 samples to choose from",
    ]
    assert {row["name"] for row in result["descriptors"]} >= {"torso", "upper"}  # jet colours: a radar's
    assert {row["features"] for row in result["sets"]} == {"classifier", "PCA"}
    assert "the generator has seen 13 real samples a class" in " ".join(found.output.split())
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<img") == 4
    assert "http" not in page.replace("http-equiv", "")


def test_copies_of_training_samples_are_noticed(pictures, tmp_path):
    real, _ = pictures
    copies = tmp_path / "copies"
    for name in ("ID_1", "ID_2"):
        (copies / name).mkdir(parents=True)
        for i in range(1, 9):
            (copies / name / f"{i}.png").write_bytes((real / name / f"{i}.png").read_bytes())
    found = invoke("evaluate-generation", real, copies, tmp_path / "out", "--seeds", "1", "--steps", "2")
    assert found.exit_code == 0, found.output
    result = json.loads((tmp_path / "out" / "augmentation.json").read_text())
    assert result["memorisation"]["ratio"] < 1e-3
    assert result["memorisation"]["closer"] == 1
    assert result["arms"] == []


def test_series_without_classes(tmp_path):
    real, made = write_series(tmp_path / "real", 4, 400), write_series(tmp_path / "made", 12, 32)
    noise = tmp_path / "noise"
    noise.mkdir()
    for i in range(12):
        values = RNG.normal(size=(32, 2))
        (noise / f"{i}.csv").write_text("x,y\n" + "\n".join(f"{a:.4f},{b:.4f}" for a, b in values) + "\n")
    scores = {}
    for folder in (made, noise):
        found = invoke("evaluate-generation", real, folder, tmp_path / "out", "--seeds", "2", "--steps", "40")
        assert found.exit_code == 0, found.output
        scores[folder] = json.loads((tmp_path / "out" / "augmentation.json").read_text())
    good, bad = scores[made], scores[noise]
    assert good["series"]["horizon"] == 8
    assert good["series"]["tstr"] < 0.3 < bad["series"]["tstr"]
    assert good["series"]["trtr"] == bad["series"]["trtr"] < 0.2
    assert np.mean(good["discrimination"]["scores"]) < 0.3 < np.mean(bad["discrimination"]["scores"])


def test_pictures_of_other_sizes_and_colours_become_equal_levels(tmp_path):
    write_pictures(tmp_path / "jet", 4, noise=0.01)
    write_pictures(tmp_path / "grey", 4, size=(80, 96), colour=False, noise=0.01)
    sources = [
        ImageSource(root=tmp_path / name, split={"type": "time", "ratios": (0.5, 0, 0.5)})
        for name in ("jet", "grey")
    ]
    split = find_split(sources[0])
    layout = find_layout(sources[0], split, find_pieces(sources[1]), None)
    assert (layout.jet, layout.channels) == (True, 1)
    jets, greys = (load(find_pieces(source), source, layout, ("ID_1", "ID_2"), "") for source in sources)
    assert jets.values.shape == greys.values.shape == (8, 1, 64, 64)
    # row 10 of 40 begins at 16 of 64
    assert jets.values[0, 0, 16].mean() == pytest.approx(0.9, abs=0.02)
    assert greys.values[0, 0, 8].mean() > 0.5  # row 10 of 80
    grey = find_layout(sources[1], find_split(sources[1]), (), None)
    assert (grey.jet, grey.channels) == (False, 1)


def test_windows_of_a_series_lie_end_to_end(tmp_path):
    (tmp_path / "a.csv").write_text("x\n" + "\n".join(map(str, range(10))) + "\n")
    source = workflow._source(
        workflow.Inputs(real=tmp_path, synthetic=tmp_path, ratios=(0.5, 0, 0.5), guard=1)
    )
    split = find_split(source)
    layout = find_layout(source, split, find_pieces(source), 2)
    values = load(split.train, source, layout, ("all",), "").values
    assert values[:, 0].tolist() == [[0, 1], [2, 3]]


def test_channels_are_samples_of_their_own_where_generated_series_have_one(tmp_path):
    """A codec of one channel at a time generates columns without a name."""
    for name, columns in (("real", "a,b"), ("made", "value")):
        width = len(columns.split(","))
        rows = [",".join(str(10 * c + row) for c in range(width)) for row in range(4)]
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").write_text("\n".join([columns, *rows]) + "\n")
    inputs = workflow.Inputs(
        real=tmp_path / "real", synthetic=tmp_path / "made", ratios=(0.5, 0, 0.5), guard=0
    )
    source = workflow._source(inputs)
    split, pieces = find_split(source), find_pieces(source.model_copy(update={"root": tmp_path / "made"}))
    layout = find_layout(source, split, pieces, 2)
    assert load(split.train, source, layout, ("all",), "").values[:, 0].tolist() == [[0, 1], [10, 11]]
    assert load(pieces, source, layout, ("all",), "").values[:, 0].tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("ID_1", "ID_9"), "classes that the real ones don't have: ID_9"),
        (("ID_1",), "no generated samples: ID_2"),
    ],
)
def test_classes_that_do_not_fit(pictures, tmp_path, classes, message):
    real, _ = pictures
    made = write_pictures(tmp_path, 2, classes=classes)
    source = ImageSource(root=real, split={"type": "time", "ratios": (0.6, 0.1, 0.3)})
    with pytest.raises(DataError, match=message):
        common_classes(find_split(source), find_pieces(ImageSource(root=made)), labelled=True)


def test_real_data_of_one_class(tmp_path):
    one = write_pictures(tmp_path, 12, classes=("ID_1",))
    found = invoke("evaluate-augmentation", one, one, tmp_path / "out", *QUICK)
    assert found.exit_code == 2
    assert "1 classes, two are the least" in found.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budgets", "5,2"], "must rise"),
        (["--budgets", "five"], "no list of numbers"),
        (["--budgets", "40"], "a class has 13"),
        (
            ["--budgets", "2", "--multiples", "9"],
            "18 generated samples of each class are needed, there are 5",
        ),
        (["--budgets", "2", "--filter", "density", "--keep", "0.2"], "after the filter, which keeps 20%"),
        (["--ratios", "0.5", "0.1", "0.1"], "add up to 1"),
        (["--ratios", "0.5", "0.5", "0"], "nothing to test with"),
    ],
)
def test_settings_that_cannot_be(pictures, tmp_path, options, message):
    found = invoke(
        "evaluate-augmentation", *pictures, tmp_path / "out", "--seeds", "1", "--steps", "1", *options
    )
    assert found.exit_code == 2, found.output
    assert message in " ".join(found.output.split())
    assert not (tmp_path / "out").exists()


def test_windows_longer_than_generated_series(tmp_path):
    real, made = write_series(tmp_path / "real", 2, 100), write_series(tmp_path / "made", 2, 16)
    with pytest.raises(DataError, match="a generated series has 16"):
        workflow.evaluate(
            workflow.Inputs(real=real, synthetic=made, window=32),
            workflow.make_spec(seeds=1, steps=1),
            labelled=False,
        )


def test_an_unknown_list_of_numbers_is_refused_by_its_option():
    with pytest.raises(UserError, match="--multiples"):
        workflow.make_spec(seeds=1, steps=1, multiples="2;4")


@pytest.mark.realdata
def test_recorded_walks_of_two_people(real_data):
    source = ImageSource(
        root=real_data / "gait10" / "ID_[12]" / "*.jpg",
        split={"type": "time", "ratios": (0.5, 0, 0.5), "guard": 4},
    )
    split = find_split(source)
    layout = find_layout(source, split, (), None)
    assert layout.jet
    train, test = (load(part, source, layout, ("ID_1", "ID_2"), "") for part in (split.train, split.test))
    model = LinearDiscriminant(spectra(train.values), train.labels, 2)
    assert accuracy(model.predict(spectra(test.values)), test.labels) > 0.9
