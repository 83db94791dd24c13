"""What was called, read by read, and the figures of each variant."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields

import numpy as np
from rich.table import Table

from anycodec import __version__
from anycodec.types import Skipped
from anycodec.workflows.variants import Kind, Sizes


@dataclass(frozen=True, slots=True)
class Storage:
    """A file in one variant.

    Attributes:
        variant, kind: which.
        sizes: bytes by what they are for.
        samples: samples of all reads.
        reads_in: reads of the original.
        reads_out: reads that came back with all their samples, in their order.
    """

    variant: str
    kind: Kind
    sizes: Sizes
    samples: int
    reads_in: int
    reads_out: int


@dataclass(frozen=True, slots=True)
class Read:
    """A read in one variant.

    Attributes:
        variant, file, read: which.
        samples: its length.
        bases: length of the call.
        identity: matches / columns of the alignment to the reference; None = not aligned.
        covered: share of the call in that alignment.
        agreement: matches / columns of the alignment to the lossless call; None where that is empty.
        rmse_adc, rmse_pa: error of the samples; None = the read did not come back whole.
    """

    variant: str
    file: str
    read: str
    samples: int
    bases: int
    identity: float | None
    covered: float | None
    agreement: float | None
    rmse_adc: float | None = None
    rmse_pa: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A variant over all files.

    Attributes:
        variant, kind: which.
        bits_per_sample: everything that storing took.
        side_bits_per_sample: the part of it that is neither tokens nor samples.
        reads_in, reads_out: reads before, and reads that came back whole.
        called: reads that were given to the basecaller.
        uncalled: those of them without a base.
        unaligned: those of them that found no place in the reference, the uncalled among them.
        identity_median, identity_mean: over the aligned reads; None without a reference.
        covered_median: likewise.
        agreement_median, agreement_mean: identity to the lossless call, a read without a base counts as 0.
        rmse_adc, rmse_pa: over all samples of the called reads.
    """

    variant: str
    kind: Kind
    bits_per_sample: float
    side_bits_per_sample: float
    reads_in: int
    reads_out: int
    called: int
    uncalled: int
    unaligned: int
    identity_median: float | None
    identity_mean: float | None
    covered_median: float | None
    agreement_median: float | None
    agreement_mean: float | None
    rmse_adc: float | None
    rmse_pa: float | None


@dataclass(slots=True, kw_only=True)
class BasecallEvaluation:
    """All that was measured.

    Attributes:
        basecaller, reference, min_samples: how; no reference = none was given.
        storage, reads: what was added, file by file.
        skipped: files that were left out.
    """

    basecaller: str
    reference: str | None
    min_samples: int
    storage: list[Storage] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def add(self, storage: Sequence[Storage], reads: Sequence[Read]) -> None:
        """A file in all variants."""
        self.storage += storage
        self.reads += reads

    def summaries(self) -> list[Summary]:
        """The variants in the order in which they were made."""
        names = dict.fromkeys(item.variant for item in self.storage)
        return [self._summary(name) for name in names]

    def _summary(self, variant: str) -> Summary:
        storage = [item for item in self.storage if item.variant == variant]
        reads = [read for read in self.reads if read.variant == variant]
        sizes: Counter[str] = Counter()
        for item in storage:
            sizes.update(item.sizes)
        samples = max(1, sum(item.samples for item in storage))
        side = sum(size for name, size in sizes.items() if name not in ("tokens", "samples"))
        identity = [read.identity for read in reads if read.identity is not None]
        agreement = [read.agreement for read in reads if read.agreement is not None]
        covered = [read.covered for read in reads if read.covered is not None]
        return Summary(
            variant=variant,
            kind=storage[0].kind,
            bits_per_sample=8 * sizes.total() / samples,
            side_bits_per_sample=8 * side / samples,
            reads_in=sum(item.reads_in for item in storage),
            reads_out=sum(item.reads_out for item in storage),
            called=len(reads),
            uncalled=sum(read.bases == 0 for read in reads),
            unaligned=len(reads) - len(identity) if self.reference else 0,
            identity_median=_median(identity),
            identity_mean=_mean(identity),
            covered_median=_median(covered),
            agreement_median=_median(agreement),
            agreement_mean=_mean(agreement),
            rmse_adc=_pooled([(read.rmse_adc, read.samples) for read in reads]),
            rmse_pa=_pooled([(read.rmse_pa, read.samples) for read in reads]),
        )

    def to_json(self) -> str:
        """Everything but the single reads."""
        content = {
            "anycodec": __version__,
            "basecaller": self.basecaller,
            "reference": self.reference,
            "min_samples": self.min_samples,
            "variants": [asdict(summary) for summary in self.summaries()],
            "skipped": [asdict(item) for item in self.skipped],
        }
        return json.dumps(content, indent=2) + "\n"

    def to_csv(self) -> str:
        """A row a read and variant; empty = there is no such figure."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = [column.name for column in fields(Read)]
        writer.writerow(columns)
        writer.writerows([getattr(read, column) for column in columns] for read in self.reads)
        return text.getvalue()

    def table(self) -> Table:
        """A row a variant, narrow enough for a terminal of 80 columns."""
        title = f"bases called by {self.basecaller}"
        table = Table(title=title, title_justify="left", box=None, collapse_padding=True, pad_edge=False)
        table.add_column("", overflow="fold", min_width=len("lossless"))
        for name in ("bits/\nsample", "identity, %\nmedian / mean", "un-\naligned",
                     "to lossless, %\nmedian / mean", "RMSE\nADC / pA", "reads\nin / out"):  # fmt: skip
            table.add_column(name, justify="right", no_wrap=True)
        for item in self.summaries():
            table.add_row(
                item.variant,
                f"{item.bits_per_sample:.3f}",
                _pair(item.identity_median, item.identity_mean, 100),
                f"{item.unaligned} of {item.called}" if self.reference else "",
                _pair(item.agreement_median, item.agreement_mean, 100),
                _pair(item.rmse_adc, item.rmse_pa),
                f"{item.reads_in} / {item.reads_out}",
            )
        return table

    def notes(self) -> Iterator[str]:
        """What a reader of the table should know."""
        summaries = self.summaries()
        short = summaries[0].reads_in - summaries[0].called
        if short:
            yield f"{short} reads are shorter than {self.min_samples} samples: stored, but not called"
        for item in summaries:
            if item.uncalled:
                yield f"{item.variant}: {item.uncalled} of {item.called} reads got no base"
            if item.reads_out != item.reads_in:
                yield f"{item.variant}: {item.reads_in - item.reads_out} READS DID NOT COME BACK WHOLE"
        for left in self.skipped:
            yield f"left out: {left.path}: {left.reason}"


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _pooled(parts: Sequence[tuple[float | None, int]]) -> float | None:
    """Root of the mean square over all samples, from each read's."""
    known = [(rmse, samples) for rmse, samples in parts if rmse is not None]
    total = sum(samples for _, samples in known)
    return float(np.sqrt(sum(rmse**2 * samples for rmse, samples in known) / total)) if total else None


def _pair(first: float | None, second: float | None, times: float = 1) -> str:
    return "" if first is None or second is None else f"{times * first:.2f} / {times * second:.2f}"
