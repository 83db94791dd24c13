import base64
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from anycodec.checkpoint import RunDirectory
from anycodec.errors import RunError
from anycodec.metrics.evaluation import (
    Evaluation,
    Example,
    Result,
    Throughput,
    load_examples,
    save_examples,
)
from anycodec.metrics.rate import Rate
from anycodec.types import Skipped
from anycodec.workflows.report import evaluation_path, examples_path, read_curves, run, write_report

HOSTILE = "<script>alert('&\"')</script>"
RATE = Rate(
    values=8000,
    bytes={"tokens": 1000, "statistics": 80, "header": 20},
    nominal=1.0,
    entropy=0.98,
    source_bytes=16000,
)


def scores(snr: float) -> dict[str, float]:
    return {"n": 8000, "rmse": 1.5, "snr": snr, "pearson": 0.99, "custom": 7.25}


def evaluation(**changes) -> Evaluation:
    base = Evaluation(
        title=f"run {HOSTILE}",
        kind="1d",
        unit="pA",
        sample_rate=4000.0,
        n_files=1,
        n_signals=2,
        codec=Result(description="tiny", rate=RATE, original=scores(12.0), normalised=scores(12.0)),
        baseline=Result(
            description="k-means",
            rate=RATE.with_tokens(entropy=0.97, nominal=1.0),
            original=scores(9.5),
            normalised=scores(9.5),
        ),
        token_counts=[[5, 0, 3, 0], [1, 2, 3, 4]],
        throughput=Throughput(encode=2.5e6, decode=900.0, device="cpu"),
        skipped=[Skipped(f"{HOSTILE}.pod5", "truncated")],
        versions={"anycodec": "0.1.0"},
    )
    return replace(base, **changes)


def signal_example(n: int = 500, channels: int = 1) -> Example:
    x = np.cumsum(np.random.default_rng(0).normal(size=(n, channels)), axis=0)
    return Example(
        title=f"read $a_b$ {HOSTILE}", original=x, restored=x + 0.1, baseline=x - 0.3, channels=("pA",)
    )


def pictures(n: int, channels: int, shape=(24, 32)) -> list[Example]:
    rng = np.random.default_rng(1)
    original = rng.integers(0, 256, (n, *shape, channels)).astype(np.uint8)
    return [Example(title=f"{i}.png", original=x, restored=x // 2) for i, x in enumerate(original)]


class Tags(HTMLParser):
    """Tags and attributes of a page; raises where tags are not closed in order."""

    VOID = ("meta", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def directory(tmp_path) -> RunDirectory:
    directory = RunDirectory(tmp_path)
    directory.config.write_text(f"name: x # {HOSTILE}\n")
    directory.metrics.write_text(
        "step,train/loss,val/snr,val/codes_used\n10,0.5,,\n20,0.4,,\n20,,8.5,0.9\n30,nan,,\n40,0.2,9.5,1.0\n"
    )
    return directory


def written(directory: RunDirectory) -> str:
    return directory.report.read_text(encoding="utf-8")


def test_page_is_self_contained_and_escaped(directory):
    save_examples(examples_path(directory), [signal_example(), signal_example(50, 5)])
    write_report(directory, evaluation())
    text = written(directory)
    tags = Tags(text).tags
    assert "<script" not in text.lower()
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
    sources = [value for _, attrs in tags for name, value in attrs.items() if name in ("src", "href")]
    assert len(sources) == 6
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in re.sub(r"base64,[^\"]*", "", text)
    assert len(text) < 3_000_000


def test_figures_on_disk_are_those_on_the_page(directory):
    save_examples(examples_path(directory), [signal_example()])
    write_report(directory, evaluation())
    names = {path.name for path in directory.figures.iterdir()}
    assert names == {"example-1.png", "errors.png", "rate.png", "codebook.png", "training.png"}
    for path in directory.figures.iterdir():
        png = path.read_bytes()
        with Image.open(BytesIO(png)) as image:
            assert image.width == 1000
        assert base64.b64encode(png).decode() in written(directory)


def test_page_shows_the_figures_that_count(directory):
    write_report(directory, evaluation())
    text = written(directory)
    for figure in (
        "12.00 dB",
        "+2.50 dB",
        "at the same rate",
        "1.1000",  # 1100 bytes for 8000 values
        "0.1000",  # of them side information
        "14.5 ×",
        "1.5 pA",
        "7.25",
        "2.5 M",
        "truncated",
        "0.1.0",
    ):
        assert figure in text


def test_another_rate_is_not_called_the_same(directory):
    base = evaluation()
    other = replace(base.baseline, rate=RATE.with_tokens(entropy=1.96, nominal=2))
    write_report(directory, replace(base, baseline=other))
    assert "at the same rate" not in written(directory)
    assert "at 2.00 times the rate" in written(directory)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(24, 32), (400, 3)])
def test_pictures(directory, channels, shape):
    save_examples(examples_path(directory), pictures(5, channels, shape))
    quality = {"psnr": 31.25, "ssim": 0.9}
    codec = Result(description="vqgan", rate=replace(RATE, pixels=4000), original=quality, normalised={})
    write_report(
        directory,
        evaluation(kind="image", codec=codec, baseline=None, value_range=(0, 255)),
    )
    assert "31.25 dB" in written(directory)
    assert "bits/pixel" in written(directory)
    with Image.open(directory.figures / "examples.png") as image:
        assert image.height <= 800


def test_bare_evaluation_of_a_codec_that_diverged(tmp_path):
    directory = RunDirectory(tmp_path)
    x = np.zeros((5, 1))
    save_examples(examples_path(directory), [Example(title="", original=x, restored=x + np.nan)])
    broken = Result(description="", rate=RATE, original={"snr": math.nan}, normalised={"snr": -math.inf})
    write_report(
        directory, evaluation(codec=broken, token_counts=[[0, 0]], throughput=None, skipped=(), versions={})
    )
    Tags(written(directory))


def test_evaluation_survives_json():
    original = evaluation(
        codec=Result(description="d", rate=RATE, original={"snr": math.inf}, normalised={"snr": -math.inf}),
        value_range=(0.0, 255.0),
    )
    again = Evaluation.from_json(original.to_json())
    assert again.codec == original.codec
    assert again.baseline == original.baseline
    assert again.throughput == original.throughput
    assert again.token_counts == ((5, 0, 3, 0), (1, 2, 3, 4))
    assert again.skipped == tuple(original.skipped)
    other_version = {**json.loads(original.to_json()), "a_figure_of_later": [1, 2]}
    assert Evaluation.from_json(json.dumps(other_version)) == again


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"title": 1}', "null"])
def test_damaged_evaluation_is_a_run_error(text):
    with pytest.raises(RunError, match="damaged evaluation"):
        Evaluation.from_json(text)


def test_examples_survive_storage(tmp_path):
    examples = [signal_example(20, 2), *pictures(1, 3)]
    save_examples(tmp_path / "e.npz", examples)
    again = load_examples(tmp_path / "e.npz")
    assert [e.title for e in again] == [e.title for e in examples]
    assert again[1].baseline is None
    assert again[1].original.dtype == np.uint8
    for a, b in zip(again, examples, strict=True):
        np.testing.assert_array_equal(a.restored, b.restored)


def test_pickled_or_damaged_examples_are_refused(tmp_path):
    np.savez(tmp_path / "p.npz", **{"0/heading": np.array([{}], dtype=object)})
    (tmp_path / "d.npz").write_bytes(b"PK\x03\x04 not a zip")
    for name in ("p.npz", "d.npz"):
        with pytest.raises(RunError, match="damaged examples"):
            load_examples(tmp_path / name)
    assert load_examples(tmp_path / "none.npz") == []


def test_curves_skip_gaps_and_nan(directory):
    curves = read_curves(directory.metrics)
    assert curves["train/loss"] == ([10, 20, 40], [0.5, 0.4, 0.2])
    assert curves["val/snr"] == ([20, 40], [8.5, 9.5])


def test_run_without_evaluation_says_how_to_get_one(tmp_path):
    with pytest.raises(RunError, match="anycodec evaluate"):
        run(tmp_path)


def test_run_writes_the_report_again(directory, capsys):
    evaluation_path(directory).write_text(evaluation().to_json())
    assert run(directory.path) == 0
    assert str(directory.report) in capsys.readouterr().out
    assert directory.report.is_file()
