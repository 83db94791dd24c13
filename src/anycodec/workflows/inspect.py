"""`anycodec inspect`: what a file or a run holds. Imports no framework."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text
from safetensors import SafetensorError, safe_open

from anycodec.bitstream.container import AczReader, Header, Totals
from anycodec.bitstream.frame import MAGIC
from anycodec.checkpoint import RunDirectory
from anycodec.config.kinds import PRIOR
from anycodec.config.run import RunSpec, window_shape
from anycodec.errors import DataError, RunError
from anycodec.io.formats import default_source, format_for, open_file
from anycodec.metrics.codebook import CodebookUse
from anycodec.metrics.rate import nominal_rate
from anycodec.types import SignalInfo
from anycodec.workflows.bound_rows import bound_rows
from anycodec.workflows.console import out as console
from anycodec.workflows.prior_rows import prior_rows, prior_run_rows

_SIGNALS_SHOWN = 12
_LONGEST_TEXT = 200
Rows = Iterable[tuple[str, object]]


def run(path: Path) -> int:
    """Print what `path` holds: an `.acz` file, a run directory or a native data file.

    Raises:
        FormatError: a damaged `.acz` file; every byte of it is checked.
        RunError: a folder that is not a run.
        DataError: a file that no format reads.
    """
    if path.is_dir():
        _show_folder(RunDirectory(path))
    elif not path.exists():
        raise DataError("there is no such file or folder", where=str(path))
    elif path.suffix.lower() == ".acz" or _starts_with_magic(path):
        _show_acz(path)
    else:
        _show_native(path)
    return 0


def _starts_with_magic(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


# --- .acz files ---------------------------------------------------------------------------------


def _show_acz(path: Path) -> None:
    with AczReader(path) as reader:
        header, totals, sizes, size = reader.header, reader.totals, reader.sizes(), reader.size
        written = f"version {reader.version}, written by {reader.header.program}"
        signals = [info for info, segment in islice(reader.records(), _SIGNALS_SHOWN) if not segment.start]
        promised, coded_by = list(bound_rows(reader)), list(prior_rows(reader))
        reader.verify()
    codec = header.codec
    _print_rows(
        path.name,
        [
            (
                "file",
                f"{size:,} bytes, {written}; all checksums are right",
            ),
            ("original", f"{header.source_name} ({header.file.format})"),
            (
                "codec",
                f"{codec.get('name')}: {codec.get('type')} + {codec.get('quantizer')}, {codec.get('engine')}",
            ),
            ("fingerprint", codec.get("fingerprint")),
            ("run", codec.get("run")),
            ("codebooks", _sizes_text(header.codebook_sizes)),
            ("window", _settings(header.source.get("window"))),
            ("normalizer", _settings(header.source.get("normalizer"))),
            *promised,
            *_asked_rows(header),
            *coded_by,
            *_content_rows(totals, signals),
            *_rate_rows(size, totals, header.codebook_sizes),
        ],
    )
    console.print(_sizes_table(sizes, totals), soft_wrap=False)


def _asked_rows(header: Header) -> Rows:
    if header.rate is not None:
        kept = f"{header.rate.get('levels')} of {header.rate.get('of')} levels stored"
        yield "asked for", f"{header.rate.get('asked')}; {kept}"


def _content_rows(totals: Totals, signals: Sequence[SignalInfo]) -> Rows:
    yield "signals", f"{totals.signals:,} in {totals.segments:,} segments, {totals.windows:,} windows"
    if totals.signals > 1:
        names = ", ".join(signal.id for signal in signals)
        yield "names", names + (", ..." if totals.signals > len(signals) else "")
    if signals:
        first = signals[0]
        yield "first signal", _signal_text(first)
        yield _extent_name(first), f"{totals.samples:,} ({totals.values:,} values)"


def _rate_rows(size: int, totals: Totals, codebook_sizes: tuple[int, ...]) -> Rows:
    if not totals.values:
        return
    per_value = 8 * size / totals.values
    yield "rate", f"{per_value:.4g} bits/{_value_name(totals)} with all side information"
    if totals.pixels:
        yield "rate a pixel", f"{8 * size / totals.pixels:.4g} bits/pixel"
    native = 8 * totals.native_bytes / totals.values
    yield "ratio", f"{totals.native_bytes / size:.4g} : 1 against {native:g}-bit values as they are"
    if totals.tokens:
        nominal = sum(map(math.log2, codebook_sizes)) / len(codebook_sizes)
        coded = 8 * totals.token_bytes / totals.tokens
        yield "tokens", f"{totals.tokens:,}, {coded:.4g} bits each (nominally {nominal:.4g})"


def _sizes_table(sizes: Mapping[str, int], totals: Totals) -> Table:
    unit = f"bits/{_value_name(totals)}"
    table = Table("part", "bytes", "share", unit, box=None, pad_edge=False, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    total = sum(sizes.values())
    for name, size in [*sizes.items(), ("total", total)]:
        bits = f"{8 * size / totals.values:.4f}" if totals.values else ""
        table.add_row(
            name, f"{size:,}", f"{size / total:.1%}", bits, style="bold" if name == "total" else None
        )
    return table


def _value_name(totals: Totals) -> str:
    """What a scalar value is called: a sample where it is one."""
    return "sample" if totals.values == totals.samples and not totals.pixels else "value"


# --- run directories ----------------------------------------------------------------------------


def _show_folder(folder: RunDirectory) -> None:
    if folder.kind() is PRIOR:
        _print_rows(str(folder.path), prior_run_rows(folder))
    else:
        _show_run(folder)


def _show_run(folder: RunDirectory) -> None:
    spec, manifest = folder.spec(), folder.read_manifest()
    _print_rows(
        str(folder.path),
        [
            (
                "run",
                f"{spec.name}, anycodec {manifest.get('anycodec', '?')}, "
                f"{manifest.get('started', 'not started')}",
            ),
            ("fingerprint", manifest.get("fingerprint", "none yet: the training is not finished")),
            ("codec", f"{spec.codec.type} + {spec.codec.bottleneck}, {spec.engine}"),
            *_geometry_rows(spec, manifest),
            *_weight_rows(folder),
            *_origin_rows(manifest),
            *_statistics_rows(folder, spec),
            *_training_rows(manifest),
        ],
    )
    metrics = manifest.get("metrics")
    if metrics:
        _print_rows("evaluation", [(name, f"{value:.6g}") for name, value in metrics.items()])


def _geometry_rows(spec: RunSpec, manifest: Mapping[str, Any]) -> Rows:
    shape, strides = window_shape(spec.data, spec.codec.axes), spec.codec.token_strides
    channels = manifest.get("in_channels")
    sizes = spec.codec.codebook_sizes
    yield "data", f"{spec.data.type}, {channels or '?'} channels a window"
    yield "window", f"{_product(shape)}, overlap {spec.data.window.overlap}"
    what = "token" if sizes else "latent"
    for stride in dict.fromkeys(strides):
        grid = [extent // step for extent, step in zip(shape, stride, strict=True)]
        yield f"{what} grid", f"{_product(grid)} a window, one {what} every {_product(stride)}"
    if not sizes:
        yield "codebooks", "none: latents are continuous"
        return
    yield "codebooks", _sizes_text(sizes)
    if channels:
        covered = [math.prod(stride) * channels for stride in strides]
        yield "nominal rate", f"{nominal_rate(sizes, covered):.4g} bits/value (tokens, no entropy coding)"


def _weight_rows(folder: RunDirectory) -> Rows:
    path = folder.weights
    if not path.is_file():
        yield "weights", "none yet"
        return
    try:
        with safe_open(path, framework="np") as tensors:
            shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118
    except SafetensorError as error:
        raise RunError(f"damaged {path.name}: {error}", where=str(path)) from error
    count = sum(map(math.prod, shapes))
    yield "weights", f"{count:,} numbers in {len(shapes)} tensors, {path.stat().st_size:,} bytes"


def _origin_rows(manifest: Mapping[str, Any]) -> Rows:
    origin = manifest.get("imported")
    if origin:
        yield "imported", f"{origin['source']}, {origin['file']}, SHA-256 {origin['sha256']}"
        if origin["note"]:
            yield "note", origin["note"]
    start = manifest.get("init_from")
    if start:
        yield "fine-tuned", f"from {start['run']}, fingerprint {start['fingerprint'][:12]}"


def _statistics_rows(folder: RunDirectory, spec: RunSpec) -> Rows:
    arrays = folder.read_statistics() if folder.statistics.is_file() else {}
    yield "normalizer", _settings(spec.data.normalizer.model_dump(mode="json"))
    for name, array in sorted(arrays.items()):
        if name.startswith("token_counts."):
            yield f"level {name.rpartition('.')[2]}", _use_text(array)
        elif name.startswith(("token_pairs.", "token_pairs_coarser.")):
            given = "the token before" if name.startswith("token_pairs.") else "the coarser level's token"
            yield f"context {name.rpartition('.')[2]}", f"{array.shape[1]} groups of codes, given {given}"
        elif name.startswith("token_trellis."):
            yield f"order {name.rpartition('.')[2]}", f"numbers on a trellis of {int(array[0])} states"
        elif not name.startswith("token_groups."):
            shown = " ".join(f"{value:.6g}" for value in array.ravel()[:8])
            yield name, shown + (" ..." if array.size > 8 else "")


def _use_text(counts: NDArray[np.int64]) -> str:
    if (counts == 1).all():
        return f"{len(counts)} codes, of whose use nothing is known"
    use = CodebookUse.of(counts)
    return (
        f"{int(counts.sum()):,} training tokens, {use.used} of {use.size} codes, "
        f"{use.entropy:.4g} bits a token"
    )


def _training_rows(manifest: Mapping[str, Any]) -> Rows:
    data, training = manifest.get("data", {}), manifest.get("training")
    for name, count in data.get("counts", {}).items():
        yield name.replace("_", " "), f"{count:,}"
    if training:
        best = training["best"]
        yield "trained", f"{training['steps']:,} steps, {training['seconds']:,.0f} s"
        yield "best", f"{best['metric']} {best['value']:.6g}"
        yield (
            "speed",
            f"{training['samples_per_second']:,} values/s, {training['data_wait']:.1%} waiting for data",
        )


# --- native files -------------------------------------------------------------------------------


def _show_native(path: Path) -> None:
    name = format_for(path)
    with open_file(path, default_source(name)) as reader:
        info = reader.info
        signals = reader.signals()
        shown = list(islice(signals, _SIGNALS_SHOWN))
        lengths = np.array([one.length for one in shown] + [one.length for one in signals], np.int64)
    rows: list[tuple[str, object]] = [
        ("file", f"{path.stat().st_size:,} bytes"),
        ("format", info.format),
        ("signals", f"{len(lengths):,}"),
    ]
    if shown:
        between = f", {lengths.min():,} to {lengths.max():,} each" if len(lengths) > 1 else ""
        rows.append((_extent_name(shown[0]), f"{lengths.sum():,}{between}"))
    rows += [(one.id or f"signal {i}", _signal_text(one)) for i, one in enumerate(shown)]
    if len(lengths) > len(shown):
        rows.append(("...", f"{len(lengths) - len(shown):,} more"))
    _print_rows(path.name, rows)


# --- texts --------------------------------------------------------------------------------------


def _signal_text(info: SignalInfo) -> str:
    parts = [f"{_product(info.shape)} {info.axes}", info.dtype]
    if info.rate is not None:
        parts.append(f"{info.rate:g} {'frames/s' if info.axes == 'THWC' else 'Hz'}")
    if info.unit:
        parts.append(info.unit)
    if info.channels:
        parts.append("channels " + " ".join(info.channels[:_SIGNALS_SHOWN]))
    if info.label is not None:
        parts.append(f"class {info.label}")
    return ", ".join(parts)


def _extent_name(info: SignalInfo) -> str:
    return {"TC": "samples", "HWC": "pictures", "THWC": "frames"}[info.axes]


def _product(extents: Iterable[int]) -> str:
    return " x ".join(map(str, extents))


def _sizes_text(sizes: tuple[int, ...]) -> str:
    levels = "" if len(sizes) == 1 else f" ({len(sizes)} levels)"
    return f"{_product(sizes)} codes{levels}"


def _settings(settings: object) -> str:
    if not isinstance(settings, dict):
        return "?"
    return ", ".join(f"{key} {value}" for key, value in settings.items() if value is not None)


def _print_rows(title: str, rows: Rows) -> None:
    """A table of names and texts. Texts can come from foreign files: no markup, no control characters."""
    table = Table(title=_plain(title), title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(_plain(name), _plain(text))
    console.print(table, soft_wrap=False)
    console.print()


def _plain(value: object) -> Text:
    text = str(value)
    shortened = text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "..."
    return Text("".join(letter if letter.isprintable() else "?" for letter in shortened))
