"""What signals a data set holds, without their values."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from anycodec.config.data import (
    ArraySource,
    DataSpec,
    ImageSource,
    Pod5Source,
    PrincipalSpec,
    StandardSpec,
    TableSource,
)
from anycodec.data.channels import picture_mismatch
from anycodec.data.readers import OpenFile
from anycodec.data.reads import Reads
from anycodec.errors import DataError
from anycodec.io.remote import size_of
from anycodec.types import Axes, SignalInfo, Skipped


@dataclass(frozen=True, slots=True)
class Entry:
    """One signal. Small: a data set can hold millions.

    Attributes:
        path: its file.
        signal: its index within the file.
        id: its name within the file.
        axes: layout of its values.
        shape: shape of the whole signal in that layout.
        label: its class, None where there is none.
    """

    path: str
    signal: int
    id: str
    axes: Axes
    shape: tuple[int, ...]
    label: str | None

    @property
    def length(self) -> int:
        """Samples or frames; 1 for a picture."""
        return 1 if self.axes == "HWC" else self.shape[0]

    @property
    def n_channels(self) -> int:
        return self.shape[-1]


@dataclass(frozen=True, slots=True)
class Catalog:
    """The usable signals of some files, in the order of the files, and what was left out."""

    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(entry.path for entry in self.entries))

    def fingerprint(self, base: Path) -> str:
        """SHA-256 over names relative to `base`, file sizes, ids and shapes: tells data sets apart."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(f"{relative_name(path, base)}\0{size_of(path)}\0".encode())
        for entry in self.entries:
            digest.update(f"{entry.signal}\0{entry.id}\0{entry.shape}\0".encode())
        return digest.hexdigest()


def scan(files: Iterable[Path], source: DataSpec, open_file: OpenFile) -> Catalog:
    """List the signals of files.

    Left out, with the reason: files that can't be read, empty signals, signals of another sampling
    rate than `source.sample_rate`, reads that `Reads` finds unfit, files whose number of channels fits
    neither the codec nor the other files.

    Raises:
        DataError: something is unreadable or doesn't fit, and `source.on_error` is "refuse"; reads of
            several rates where `source.rates` is "refuse".
        MissingExtra: the library for these files is not installed.
    """
    entries: list[Entry] = []
    skipped: list[Skipped] = []
    reads = Reads(source) if isinstance(source, Pod5Source) else None
    for path in files:
        try:
            found, reasons = _scan_file(path, source, open_file, reads)
        except DataError as error:
            if source.on_error == "refuse":
                raise
            skipped.append(Skipped(str(path), error.what))
            continue
        entries += found
        skipped += (Skipped(str(path), reason) for reason in reasons)
    if reads is not None:
        reads.check()
    return _with_equal_channels(entries, skipped, source)


def relative_name(path: str | Path, base: Path) -> str:
    """`path` as seen from `base`, with forward slashes; as it is where it lies elsewhere."""
    path = Path(path)
    return (path.relative_to(base) if path.is_relative_to(base) else path).as_posix()


def _scan_file(
    path: Path, source: DataSpec, open_file: OpenFile, reads: Reads | None
) -> tuple[list[Entry], list[str]]:
    """Entries of a file, and reasons for what was left out."""
    name = str(path)
    found: list[Entry] = []
    left_out: Counter[str] = Counter()
    with open_file(path, source) as reader:
        for index, info in enumerate(reader.signals()):
            reason = _unfit(info, source) or (reads.unfit(reader.info, info) if reads else None)
            if reason:
                left_out[reason] += 1
            else:
                found.append(Entry(name, index, info.id, info.axes, info.shape, info.label))
        total = reader.info.n_signals
    if not total:
        raise DataError("the file holds no signal", where=name)
    return found, [f"{count} of {total} signals: {reason}" for reason, count in left_out.items()]


def _unfit(info: SignalInfo, source: DataSpec) -> str | None:
    """Why a signal can't be used, None if it can."""
    if 0 in info.shape:
        return "empty"
    wanted = source.sample_rate if isinstance(source, TableSource | ArraySource) else None
    if wanted is not None and info.rate is not None and abs(info.rate - wanted) > 1e-3 * wanted:
        return f"sampled at {info.rate:g} Hz, not at data.sample_rate {wanted:g} Hz"
    return None


def _with_equal_channels(entries: list[Entry], skipped: list[Skipped], source: DataSpec) -> Catalog:
    """Leave out files whose channels don't fit."""
    allowed = _allowed_channels(entries, source)
    if allowed is None:
        return Catalog(tuple(entries), tuple(skipped))
    unfit = {entry.path: entry.n_channels for entry in entries if entry.n_channels not in allowed}
    for path, found in unfit.items():
        error = _mismatch(found, max(allowed), path, source)
        if source.on_error == "refuse":
            raise error
        skipped.append(Skipped(path, error.what))
    return Catalog(tuple(entry for entry in entries if entry.path not in unfit), tuple(skipped))


def _mismatch(found: int, wanted: int, path: str, source: DataSpec) -> DataError:
    if isinstance(source, ImageSource):
        return picture_mismatch(found, wanted, path)
    return DataError(
        f"the file has {found} channels, most others have {wanted}",
        where=path,
        how="leave it out with data.exclude, or choose equal columns",
    )


def _allowed_channels(entries: Sequence[Entry], source: DataSpec) -> set[int] | None:
    """Channel counts of files that fit; None = all."""
    if isinstance(source, ImageSource):
        return {1} if source.mode == "grey" else {1, 3}
    separate = isinstance(source, TableSource | ArraySource) and source.channels == "independent"
    if not entries or (separate and not isinstance(source.normalizer, StandardSpec | PrincipalSpec)):
        return None
    (most_common, _), *_ = Counter(entry.n_channels for entry in entries).most_common()
    return {most_common}
