"""What a comparison of generated with real samples found: on the terminal, as JSON and as a page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from anycodec.atomic import atomic_write
from anycodec.metrics.augmentation import TRTR, TRTS, TSTR, Arm, GenerationResult
from anycodec.metrics.interval import Interval
from anycodec.workflows import augmentation_figures as figures
from anycodec.workflows import page
from anycodec.workflows.augmentation_figures import Gallery
from anycodec.workflows.console import out as console

RESULT, REPORT = "augmentation.json", "report.html"
CLASSIFIERS = {"cnn": "small CNN", "lda": "LDA on |FFT along time|"}
_WHOLE = {
    TRTR: "trained on all real training samples, tested on real ones",
    TSTR: "trained on generated samples alone, tested on real ones",
    TRTS: "trained on all real training samples, tested on generated ones",
}
Rows = list[list[str]]


def write_report(result: GenerationResult, gallery: Gallery, out: Path) -> None:
    """Write augmentation.json, figures/ and report.html into a folder."""
    drawn = {
        "gallery": figures.gallery_figure(gallery),
        "closest": figures.closest_figure(gallery),
        "accuracy": figures.accuracy_figure(result),
        "recall": figures.recall_figure(result),
    }
    pictures = {name: png for name, png in drawn.items() if png is not None}
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for name, png in pictures.items():
        atomic_write(out / "figures" / f"{name}.png", png)
    atomic_write(out / RESULT, result.to_json())
    atomic_write(out / REPORT, _html(result, pictures))


def print_result(result: GenerationResult, out: Path) -> None:
    """The tables on the terminal."""
    for title, (head, rows) in _tables(result).items():
        if rows:
            table = Table(*head, title=title, title_justify="left")
            for row in rows:
                table.add_row(*row)
            console.print(table)
    for text in (*_remarks(result), *result.notes):
        console.print(text, style="yellow", markup=False)
    console.print(f"report: {shlex.quote(str(out / REPORT))}", markup=False)


def _tables(result: GenerationResult) -> dict[str, tuple[list[str], Rows]]:
    """All tables by title: (head, rows)."""
    tables = {f"Accuracy of a {CLASSIFIERS['cnn']}": _accuracy_table(result, "cnn")}
    tables[f"Accuracy of {CLASSIFIERS['lda']}"] = _accuracy_table(result, "lda")
    tables["Points over the better of real and real + classical (CNN)"] = _gain_table(result)
    tables["All of the data"] = _whole_table(result)
    tables["Distance to the real test samples"] = _sets_table(result)
    tables["Walks"] = _descriptor_table(result)
    tables["More"] = ["", ""], _single_figures(result)
    return tables


def _budgets(result: GenerationResult) -> list[int]:
    return sorted({arm.budget for arm in result.arms if arm.budget is not None})


def _accuracy_table(result: GenerationResult, classifier: str) -> tuple[list[str], Rows]:
    budgets = _budgets(result)
    names = list(
        dict.fromkeys(
            arm.name for arm in result.arms if arm.classifier == classifier and arm.budget is not None
        )
    )
    rows = [
        [name, *(_accuracy(result.arm(name, budget, classifier)) for budget in budgets)] for name in names
    ]
    return ["%", *(f"{budget} a class" for budget in budgets)], rows


def _gain_table(result: GenerationResult) -> tuple[list[str], Rows]:
    budgets = _budgets(result)
    names = list(dict.fromkeys(arm.name for arm in result.arms if "generated" in arm.name))
    rows = []
    for name in names:
        arms = [result.arm(name, budget) for budget in budgets]
        gains = [result.gain(arm) if arm else None for arm in arms]
        rows.append([name, *("" if gain is None else _percent(gain, signed=True) for gain in gains)])
    return ["points", *(f"{budget} a class" for budget in budgets)], rows


def _whole_table(result: GenerationResult) -> tuple[list[str], Rows]:
    rows = []
    for name, meaning in _WHOLE.items():
        arms = [result.arm(name, None, classifier) for classifier in CLASSIFIERS]
        if any(arms):
            rows.append([name, meaning, *(_accuracy(arm) for arm in arms)])
    return ["", "", "CNN, %", "LDA, %"], rows


def _sets_table(result: GenerationResult) -> tuple[list[str], Rows]:
    head = ["samples", "features", "n", "KID x 1000", "precision", "recall", "density", "coverage"]
    rows = [
        [
            s.samples,
            s.features,
            str(s.n),
            f"{1000 * s.kid:.1f}",
            *(f"{value:.3f}" for value in (s.precision, s.recall, s.density, s.coverage)),
        ]
        for s in result.sets
    ]
    return head, rows


def _descriptor_table(result: GenerationResult) -> tuple[list[str], Rows]:
    head = ["descriptor", "samples", "mean", "real test", "W1", "KS"]
    rows = [
        [
            d.name,
            d.samples,
            f"{d.means[1]:.3f}",
            f"{d.means[0]:.3f}",
            f"{d.wasserstein:.4f}",
            f"{d.kolmogorov:.3f}",
        ]
        for d in result.descriptors
    ]
    return head, rows


def _single_figures(result: GenerationResult) -> Rows:
    rows = []
    if result.memorisation is not None:
        found = result.memorisation
        rows.append(
            [
                "distance to the nearest training sample, generated / held-out",
                f"{found.ratio:.2f} (copies: 0)",
            ]
        )
        rows.append(
            ["generated samples closer than 95 % of held-out ones", f"{found.closer:.1%} (chance: 5 %)"]
        )
    if result.discrimination is not None:
        rows.append(
            ["discriminative score, 0 = like real, .5 = unlike", _plain(result.discrimination.scores)]
        )
    if result.series is not None:
        found_series = result.series
        rows.append([f"forecast error of {found_series.horizon} samples, TSTR", f"{found_series.tstr:.4f}"])
        rows.append([f"forecast error of {found_series.horizon} samples, TRTR", f"{found_series.trtr:.4f}"])
    return rows


def _remarks(result: GenerationResult) -> list[str]:
    """What a reader must know before believing a gain."""
    budgets = [budget for budget in _budgets(result) if result.saw is not None and budget < result.saw]
    if not budgets:
        return []
    names = ", ".join(map(str, budgets))
    return [
        f"the generator has seen {result.saw} real samples a class, more than the budgets {names}: a gain "
        "there also holds what it carries over from those; compare with TRTR"
    ]


def _html(result: GenerationResult, pictures: dict[str, bytes]) -> str:
    tables = {title: page.table(*table) for title, table in _tables(result).items()}
    remarks = [page.note(text) for text in (*_remarks(result), *result.notes)]
    accuracy = [title for title in tables if title.startswith(("Accuracy", "Points"))]
    sections = [
        page.tiles(_headline(result)),
        page.section(
            "Real and generated",
            page.picture(
                pictures.get("gallery"), "Real test samples and generated samples of the same class."
            ),
        ),
        page.section(
            "Does it help a classifier?",
            page.picture(pictures.get("accuracy"), _interval_caption(result)),
            *(page.section(title, tables[title]) for title in accuracy),
            page.section("All of the data", tables["All of the data"]),
            *remarks,
            page.picture(pictures.get("recall"), "Share of each class's test samples that were found."),
        ),
        *(
            page.section(title, tables[title])
            for title in ("Distance to the real test samples", "Walks", "More")
        ),
        page.section(
            "Copies?",
            page.picture(
                pictures.get("closest"), "The generated samples that lie nearest to a training sample."
            ),
        ),
        page.section("How it was measured", page.table(["", ""], _conditions(result), text=True)),
    ]
    return page.page(result.title, f"{result.synthetic} against {result.real}", filter(None, sections))


def _headline(result: GenerationResult) -> list[tuple[str, str]]:
    tiles = []
    best = _best_gain(result)
    if best is not None:
        arm, gain = best
        tiles.append(
            (_percent(gain, signed=True), f"points over the baseline: {arm.name}, {arm.budget} a class")
        )
    for name in (TSTR, TRTR):
        whole = result.arm(name, None)
        if whole is not None:
            tiles.append((f"{_accuracy(whole)} %", name))
    if result.memorisation is not None:
        tiles.append((f"{result.memorisation.ratio:.2f}", "nearest-neighbour distance ratio, copies: 0"))
    return tiles


def _best_gain(result: GenerationResult) -> tuple[Arm, Interval] | None:
    """Where generated samples alone help most; classical augmentation on top is not counted."""
    gains = [
        (arm, gain)
        for arm in result.arms
        if arm.classifier == "cnn" and arm.name.endswith("generated")
        if (gain := result.gain(arm)) is not None
    ]
    return max(gains, key=lambda pair: pair[1].mean, default=None)


def _conditions(result: GenerationResult) -> list[list[str]]:
    counts = ", ".join(f"{count:,} {name}" for name, count in result.counts.items())
    settings = result.settings
    classifier = settings["classifier"]
    return [
        ["classes", f"{len(result.classes)}: {', '.join(result.classes[:40])}"],
        ["samples", counts],
        ["split", result.split],
        ["the generator saw", f"{result.saw} real samples a class" if result.saw else "not known"],
        [
            "filter",
            f"{settings['filter']}, keeps {settings['keep']:.0%}" if settings["filter"] != "none" else "none",
        ],
        ["repetitions", f"{settings['seeds']}; intervals are Student's at 95 %"],
        ["classifier", f"{classifier['steps']} steps of {classifier['batch_size']} samples in every arm"],
    ]


def _interval_caption(result: GenerationResult) -> str:
    return (
        f"Mean and 95 % interval over {result.settings['seeds']} draws of real samples, shared by all arms."
    )


def _accuracy(arm: Arm | None) -> str:
    return "" if arm is None else _percent(arm.interval)


def _percent(interval: Interval, *, signed: bool = False) -> str:
    mean = f"{100 * interval.mean:+.1f}" if signed else f"{100 * interval.mean:.1f}"
    return mean if interval.n < 2 else f"{mean} ± {100 * interval.half:.1f}"


def _plain(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.3f}"
