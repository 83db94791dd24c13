"""Which parts of `.acz` files to decode: reads, rows, frames, or all that a damaged file still holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from anycodec.bitstream.container import AczReader
from anycodec.bitstream.parts import Choice, Part, Selection, lengths
from anycodec.bitstream.salvage import Gap, SalvageReader
from anycodec.errors import DataError, UserError
from anycodec.io.base import Format
from anycodec.types import Axes, FileInfo, Signal, SignalInfo
from anycodec.workflows.pipeline import Pipeline

_NAMES: dict[str, str] = {"TC": "rows", "THWC": "frames", "HWC": "pictures"}
_UNITS: dict[str, str] = {"TC": "samples", "THWC": "frames", "HWC": "pictures"}


class NothingChosen(UserError):
    """A file that holds nothing of what was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to decode of files.

    Attributes:
        choice: parts of them; None = all.
        axes: layout of signals that `choice` can have a stretch of.
        keep_going: of damaged files what they still hold.
        found: ids of `choice` that were found in a file so far.
    """

    choice: Choice | None = None
    axes: Axes | None = None
    keep_going: bool = False
    found: set[str] = field(default_factory=set)

    def open(self, path: Path) -> AczReader:
        """A reader of a file.

        Raises:
            FormatError: damaged beyond what may be.
        """
        return SalvageReader(path) if self.keep_going else AczReader(path)

    def partial(self, reader: AczReader) -> bool:
        """Whether less than all of the file is decoded."""
        if isinstance(reader, SalvageReader):
            return bool(reader.gaps(reader.salvaged()))
        return self.choice is not None

    def selection(self, reader: AczReader, pipeline: Pipeline, form: Format[Any]) -> Selection | None:
        """What to decode of an open file; None = all of it, checked to the last byte.

        Raises:
            NothingChosen: it holds nothing of that.
            UserError: rows of a video, or frames of a series.
        """
        if isinstance(reader, SalvageReader):
            return _salvaged(reader, pipeline, form)
        if self.choice is None:
            return None
        selection = reader.choose(self.choice, from_start=needs_past(reader, pipeline))
        self._check(reader, selection)
        self.found.update(part.info.id for part in selection.parts)
        return selection

    def not_found(self) -> list[str]:
        """Ids that no file had."""
        ids = frozenset() if self.choice is None or self.choice.ids is None else self.choice.ids
        return sorted(ids - self.found)

    def _check(self, reader: AczReader, selection: Selection) -> None:
        name = reader.header.source_name
        if not selection.parts:
            raise NothingChosen(
                f"nothing of {name} was chosen: none of its {reader.totals.signals:,} signals has such a "
                "name and length",
                how="`anycodec inspect` shows the extent of its signals, `anycodec cat` their names",
            )
        axes = selection.parts[0].info.axes
        if self.axes is not None and axes != self.axes:
            raise UserError(
                f"{name} holds {_NAMES[axes]}, not {_NAMES[self.axes]}", how=f"give --{_NAMES[axes]}"
            )


def needs_past(reader: AczReader, pipeline: Pipeline) -> bool:
    """Whether a segment can only be decoded after those of its signal before it: codecs that carry on."""
    return reader.header.bound is None and pipeline.codec.stream(1) is not pipeline.codec


def make_wanted(
    reads: str | None, rows: str | None, frames: str | None, *, keep_going: bool = False
) -> Wanted:
    """What options ask for.

    Args:
        reads: ids with commas between them, or @ and the path of a file with one a line.
        rows: first and last + 1 row or sample of each signal, as in 100:200 or -50:.
        frames: likewise of a video.
        keep_going: of damaged files what they still hold.

    Raises:
        UserError: they contradict each other, or are not such texts.
    """
    if reads is None and rows is None and frames is None:
        return Wanted(keep_going=keep_going)
    if keep_going:
        raise UserError("--keep-going takes whole files", how="leave --reads, --rows and --frames out")
    if rows is not None and frames is not None:
        raise UserError("--rows and --frames exclude each other", how="give one of them")
    ids = None if reads is None else _ids(reads)
    given = rows if rows is not None else frames
    if given is None:
        return Wanted(choice=Choice(ids=ids))
    axes: Axes = "TC" if rows is not None else "THWC"
    return Wanted(choice=Choice(ids=ids, stretch=_stretch(given, _NAMES[axes])), axes=axes)


def _ids(text: str) -> frozenset[str]:
    if not text.startswith("@"):
        return frozenset(text.split(","))
    path = Path(text[1:])
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("there is no such list of reads", where=str(path)) from error
    return frozenset(line.strip() for line in lines if line.strip())


def _stretch(text: str, name: str) -> slice:
    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError(text)
        return slice(int(first) if first else 0, int(last) if last else None)
    except ValueError as error:
        raise UserError(
            f"--{name} {text} is no stretch", how=f"give first:end, such as --{name} 100:200 or --{name} -50:"
        ) from error


def _salvaged(reader: SalvageReader, pipeline: Pipeline, form: Format[Any]) -> Selection:
    """All that a file still holds; signals with gaps only where the format can have them."""
    selection = reader.salvaged(from_start=needs_past(reader, pipeline))
    if not form.divisible(reader.header.file):
        whole = tuple(part for part in selection.parts if part.length == part.info.length)
        selection = Selection(whole, selection.models)
    if not selection.parts and reader.damages:
        raise NothingChosen(f"nothing of {reader.header.source_name} can be restored")
    return selection


def losses(reader: AczReader, selection: Selection | None) -> list[str]:
    """What is damaged in a file and what is missing of it for that, a line each."""
    if not isinstance(reader, SalvageReader) or selection is None:
        return []
    lines = [f"damaged at byte {damage.offset:,}: {damage.why}" for damage in reader.damages]
    axes = selection.parts[0].info.axes if selection.parts else "TC"
    gaps = reader.gaps(selection)
    lines += [f"missing: {_gap(gap, _UNITS[axes])}" for gap in gaps]
    if lines and not gaps:
        lines.append("nothing is missing")
    return lines


def _gap(gap: Gap, unit: str) -> str:
    signal = f"signal {gap.signal}" if gap.signal else "the signal"
    return f"{signal}, {unit} {gap.start:,} to {gap.stop:,}" if gap.stop else signal


def described(file: FileInfo, selection: Selection | None, form: Format[Any]) -> FileInfo:
    """The file that a selection is written to."""
    return file if selection is None else form.part(file, lengths(selection))


def cut(
    signals: Iterable[Signal], selection: Selection | None, file: FileInfo, form: Format[Any]
) -> Iterator[Signal]:
    """What is wanted of the decoded segments of a selection, as segments of the signals that it makes.

    Samples follow each other; frames keep their places, so that a gap in a video remains one in time.
    """
    if selection is None:
        yield from signals
        return
    done: tuple[Part, SignalInfo, int] | None = None
    for (part, entry), signal in zip(selection.segments(), signals, strict=False):
        if done is None or done[0] is not part:
            done = part, _shortened(part), 0
        _, info, position = done
        low, high = part.within(entry)
        if low >= high and part.length:
            continue
        start = signal.start + low - part.start if info.axes == "THWC" else position
        done = part, info, position + max(0, high - low)
        yield replace(form.cut(signal, low, high, file), info=info, start=start)


def _shortened(part: Part) -> SignalInfo:
    info = part.info
    if info.axes == "HWC":
        return info
    shape: Sequence[int] = (part.length, *info.shape[1:])
    return replace(info, shape=tuple(shape))
