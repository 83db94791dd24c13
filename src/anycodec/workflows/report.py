"""`anycodec report`: report.html and figures/ of an evaluated run."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from anycodec.atomic import atomic_write
from anycodec.checkpoint import RunDirectory
from anycodec.errors import RunError
from anycodec.metrics.codebook import CodebookUse
from anycodec.metrics.evaluation import Evaluation, Example, Result, load_examples
from anycodec.metrics.rate import Rate
from anycodec.workflows import figures, page
from anycodec.workflows.console import out

MAX_SIGNAL_EXAMPLES = 3
MAX_SKIPPED = 50
SAME_RATE = 0.03
"""Relative difference of token rates up to which a report calls them the same."""
ERRORS = {
    "rmse": ("RMSE", "unit"),
    "mae": ("mean absolute error", "unit"),
    "max_abs": ("largest absolute error", "unit"),
    "snr": ("SNR, pooled", "dB"),
    "snr_median": ("SNR, median of the signals", "dB"),
    "psnr": ("PSNR, mean", "dB"),
    "psnr_pooled": ("PSNR, pooled", "dB"),
    "ssim": ("SSIM", ""),
    "ms_ssim": ("MS-SSIM", ""),
    "ms_ssim_scales": ("MS-SSIM, scales (papers: 5)", ""),
    "lpips_alex": ("LPIPS, AlexNet", ""),
    "lpips_vgg": ("LPIPS, VGG16", ""),
    "fid": ("FID", ""),
    "kid": ("KID", ""),
    "kid_deviation": ("KID, deviation over subsets", ""),
    "feature_pictures": ("FID and KID, pictures", ""),
    "pearson": ("Pearson correlation", ""),
    "seams": ("RMSE where windows meet, of that in their middle", ""),
}
"""Figures that a report knows: name and unit; others appear under their own name."""


def run(path: Path) -> int:
    """Write the report of the run at `path` again from its evaluation.

    Raises:
        RunError: the run was not evaluated, or its files are damaged.
    """
    directory = RunDirectory(path)
    stored = evaluation_path(directory)
    if not stored.is_file():
        raise RunError(
            "the run has no evaluation yet",
            where=str(path),
            how=f"evaluate it first: anycodec evaluate {path}",
        )
    write_report(directory, Evaluation.from_json(stored.read_text(encoding="utf-8")))
    out.print(f"report: {directory.report}", markup=False)
    return 0


def evaluation_path(run: RunDirectory) -> Path:
    """Where `anycodec evaluate` stores its result."""
    return run.path / "evaluation.json"


def examples_path(run: RunDirectory) -> Path:
    """Where `anycodec evaluate` stores the pieces to look at."""
    return run.path / "examples.npz"


def write_report(run: RunDirectory, evaluation: Evaluation) -> None:
    """Draw the figures and write the page; examples, training figures and config come from the run."""
    pictures = _draw(run, evaluation)
    run.figures.mkdir(parents=True, exist_ok=True)
    for name, png in pictures.items():
        atomic_write(run.figures / f"{name}.png", png)
    atomic_write(run.report, _html(run, evaluation, pictures))


def read_curves(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """(steps, values) of each column of a metrics.csv with gaps; {} where there is no file."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    if not path.is_file():
        return curves
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            step = _number(row.get("step"))
            for name, cell in row.items():
                value = _number(cell)
                if name and name != "step" and step is not None and value is not None:
                    steps, values = curves.setdefault(name, ([], []))
                    steps.append(step)
                    values.append(value)
    return curves


def _draw(run: RunDirectory, evaluation: Evaluation) -> dict[str, bytes]:
    examples = load_examples(examples_path(run))
    drawn: dict[str, bytes | None] = _example_figures(examples, evaluation)
    if examples:
        drawn["errors"] = figures.error_figure(examples, evaluation.unit)
    drawn["rate"] = figures.rate_figure(evaluation)
    drawn["codebook"] = figures.codebook_figure(evaluation.token_counts)
    drawn["training"] = figures.training_figure(read_curves(run.metrics))
    return {name: png for name, png in drawn.items() if png is not None}


def _example_figures(examples: Sequence[Example], evaluation: Evaluation) -> dict[str, bytes | None]:
    if not examples:
        return {}
    if evaluation.kind != "1d":
        return {"examples": figures.picture_figure(examples, evaluation)}
    shown = examples[:MAX_SIGNAL_EXAMPLES]
    return {f"example-{i + 1}": figures.signal_figure(example, evaluation) for i, example in enumerate(shown)}


def _html(run: RunDirectory, evaluation: Evaluation, pictures: dict[str, bytes]) -> str:
    baseline = evaluation.baseline
    examples = [png for name, png in pictures.items() if name.startswith("example")]
    config = run.config.read_text(encoding="utf-8") if run.config.is_file() else ""
    sections = [
        page.tiles(_headline(evaluation)),
        page.section(
            "Original and restored",
            *(page.picture(png, _example_caption(evaluation)) for png in examples),
            page.picture(pictures.get("errors"), "Errors over the pieces shown above."),
        ),
        page.section("Rate", *_rate(evaluation)),
        page.section(
            "Errors",
            page.table(*_error_table(evaluation)),
            page.note(
                "SNR = 10 log10(sum (x - mean)\N{SUPERSCRIPT TWO} / sum (x - restored)\N{SUPERSCRIPT TWO}), "
                "the mean of each channel of each signal removed. Normalised: the unit the network works in."
            ),
            _features_note(evaluation),
        ),
        page.section("Against the baseline", page.picture(pictures.get("rate"), _rate_caption(baseline))),
        page.section(
            "Codebook",
            page.picture(pictures.get("codebook"), "How often each code occurs in the evaluated signals."),
        ),
        page.section("Training", page.picture(pictures.get("training"), "From metrics.csv of the run.")),
        page.section("Speed", page.table(*_speed_table(evaluation))),
        page.section("Left out", *_skipped(evaluation)),
        page.section(
            "Made with", page.table(("part", "version"), sorted(evaluation.versions.items()), text=True)
        ),
        page.section("Configuration", page.folded("config.yaml", config) if config else ""),
    ]
    return page.page(evaluation.title, _lead(evaluation), filter(None, sections))


def _headline(evaluation: Evaluation) -> list[tuple[str, str]]:
    codec, baseline, rate = evaluation.codec, evaluation.baseline, evaluation.codec.rate
    name, quality = _quality(codec, evaluation)
    shown = [(f"{quality:.2f} dB", name)]
    if baseline is not None and baseline.rate is not None and rate is not None:
        gain = quality - _quality(baseline, evaluation)[1]
        shown.append((f"{gain:+.2f} dB", f"{name} over k-means VQ {_at_rate(rate, baseline.rate)}"))
    if rate is not None:
        shown += _sizes(rate)
    if evaluation.token_counts:
        uses = [CodebookUse.of(counts) for counts in evaluation.token_counts]
        shown.append((f"{sum(u.used for u in uses) / sum(u.size for u in uses):.0%}", "of the codes in use"))
    return shown


def _sizes(rate: Rate) -> list[tuple[str, str]]:
    shown = [(f"{rate.bits_per_value:.3g}", "bits/value, everything counted")]
    if rate.bits_per_pixel is not None:
        shown.append((f"{rate.bits_per_pixel:.3g}", "bits/pixel, everything counted"))
    if rate.source_bytes:
        times = f"{rate.source_bytes / rate.total_bytes:.1f} \N{MULTIPLICATION SIGN}"
        shown.append((times, "smaller than the native files"))
    return shown


def _at_rate(codec: Rate, baseline: Rate) -> str:
    if math.isclose(codec.entropy, baseline.entropy, rel_tol=SAME_RATE):
        return "at the same rate"
    return f"at {baseline.entropy / codec.entropy:.2f} times the rate" if codec.entropy else "at another rate"


def _quality(result: Result, evaluation: Evaluation) -> tuple[str, float]:
    """The figure of merit: PSNR for pictures and video, SNR in the signals' unit otherwise."""
    name = "snr" if evaluation.kind == "1d" else "psnr"
    return name.upper(), result.original.get(name, math.nan)


def _lead(evaluation: Evaluation) -> str:
    kinds = {"1d": "1-D signals", "image": "pictures", "video": "video"}
    rate = f" at {evaluation.sample_rate:g} a second" if evaluation.sample_rate else ""
    counts = f"{_count(evaluation.n_files, 'file')}, {_count(evaluation.n_signals, 'signal')}"
    coded = evaluation.codec.rate
    values = "" if coded is None else f", {coded.values:,} values"
    return f"{evaluation.codec.description}. Evaluated on {kinds[evaluation.kind]}{rate}: {counts}{values}."


def _rate(evaluation: Evaluation) -> list[str]:
    rate = evaluation.codec.rate
    if rate is None:
        return [page.note("Latents stay continuous: there are no tokens to store, and no rate.")]
    return [page.bar(_rate_parts(rate)), page.table(*_rate_table(evaluation))]


def _rate_parts(rate: Rate) -> list[tuple[str, float, str]]:
    return [(name, bits, f"{bits:.4f} bits/value") for name, bits in rate.split().items()]


def _rate_table(evaluation: Evaluation) -> tuple[list[str], list[list[str]]]:
    results = _results(evaluation)
    rates = [result.rate for result in results if result.rate is not None]
    rows = [
        ["total, bits/value", *(f"{rate.bits_per_value:.4f}" for rate in rates)],
        ["side information in it", *(f"{rate.side_bits_per_value:.4f}" for rate in rates)],
        ["tokens, order-0 entropy", *(f"{rate.entropy:.4f}" for rate in rates)],
        ["tokens, fixed length", *(f"{rate.nominal:.4f}" for rate in rates)],
        ["size, bytes", *(f"{rate.total_bytes:,}" for rate in rates)],
    ]
    if rates[0].pixels is not None:
        rows.insert(1, ["total, bits/pixel", *(f"{rate.bits_per_pixel:.4f}" for rate in rates)])
    if rates[0].source_bytes:
        rows.append(["native files, bytes", *(f"{rate.source_bytes:,}" for rate in rates)])
    return ["", "codec", "k-means baseline"][: 1 + len(results)], rows


def _error_table(evaluation: Evaluation) -> tuple[list[str], list[list[str]]]:
    results = _results(evaluation)
    head = [""]
    for kind in ("", ", normalised"):
        head += [name + kind for name in ("codec", "k-means baseline")[: len(results)]]
    codec = results[0]
    names = [name for name in {**codec.original, **codec.normalised} if name != "n"]
    order = [*(name for name in ERRORS if name in names), *(name for name in names if name not in ERRORS)]
    rows = []
    for name in order:
        label, unit = ERRORS.get(name, (name, ""))
        own = evaluation.unit if unit == "unit" else unit
        cells = [_figure(result.original.get(name), own) for result in results]
        cells += [_figure(result.normalised.get(name), "" if unit == "unit" else unit) for result in results]
        rows.append([label, *cells])
    return head, rows


def _features_note(evaluation: Evaluation) -> str:
    if not evaluation.features:
        return ""
    return page.note(
        f"FID and KID in the features of {evaluation.features}: to be compared with figures of that network "
        "and of as many pictures only."
    )


def _speed_table(evaluation: Evaluation) -> tuple[list[str], list[list[str]]]:
    speed = evaluation.throughput
    if speed is None:
        return [], []
    rows = [
        ["encode", _rate_of(speed.encode), speed.device],
        ["decode", _rate_of(speed.decode), speed.device],
    ]
    return ["", "values a second", "on"], rows


def _skipped(evaluation: Evaluation) -> list[str]:
    rows = [(item.path, item.reason) for item in evaluation.skipped]
    rest = len(rows) - MAX_SKIPPED
    more = page.note(f"and {rest} more in evaluation.json") if rest > 0 else ""
    return [page.table(("file or signal", "reason"), rows[:MAX_SKIPPED], text=True), more]


def _example_caption(evaluation: Evaluation) -> str:
    if evaluation.kind != "1d":
        return "Error: mean over channels of |restored - original|, each row on its own scale."
    return "Left: the piece as it went in and as it came back. Right: the shaded part. Below: the error."


def _rate_caption(baseline: Result | None) -> str:
    described = f"{baseline.description}; " if baseline else ""
    return f"{described}fitted on the run's training windows, with the same normalizer and side information."


def _results(evaluation: Evaluation) -> list[Result]:
    return [result for result in (evaluation.codec, evaluation.baseline) if result is not None]


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:.2f} dB" if unit == "dB" else f"{value:.4g} {unit}".rstrip()


def _rate_of(value: float) -> str:
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.3g}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _number(cell: str | None) -> float | None:
    try:
        value = float(cell or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
