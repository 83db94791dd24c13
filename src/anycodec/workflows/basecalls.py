"""`anycodec evaluate-basecalls`: bases called before and after a codec.

POD5 --variant--> restored POD5 --basecaller--> bases --align--> identity to the reference
                                                      --edit distance--> identity to the lossless call
"""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anycodec.atomic import atomic_write
from anycodec.checkpoint import RunDirectory
from anycodec.engine import BasecallerName
from anycodec.errors import DataError, Notice, UserError
from anycodec.io.discover import discover
from anycodec.io.formats import default_source
from anycodec.io.pod5_adc import adc_reads, run_infos
from anycodec.metrics.bases import Reference, call_identity, require_parts
from anycodec.types import Skipped
from anycodec.workflows.basecall_figures import basecall_figure
from anycodec.workflows.basecall_results import BasecallEvaluation, Read, Storage
from anycodec.workflows.basecallers import Basecaller, Calls, CommandCaller, NetworkCaller
from anycodec.workflows.console import out as console
from anycodec.workflows.pores import PORE_OF_CALLER, pore_of
from anycodec.workflows.variants import Bounded, Coded, Lossless, Truncated, Variant

FOLDER = "basecalls"
"""Results, in the folder of the first run."""
MOST_BITS = 12
"""Bits of a sample that can be dropped: nanopore converters have 11 to 13."""


def run(
    runs: Sequence[Path],
    inputs: Sequence[Path],
    *,
    reference: Path | None,
    basecaller: BasecallerName,
    command: str | None,
    truncation: Sequence[int],
    within: Sequence[int],
    min_samples: int,
    device: str,
) -> int:
    """Call, compare, print and write the results.

    Args:
        runs: codecs to evaluate; results go to the first one's folder.
        inputs: POD5 files and folders.
        reference: sequences that the reads come from; None = identity to the lossless call alone.
        basecaller: the network that calls, without a command.
        command: a program that calls; see `CommandCaller`.
        truncation: bits to round away, each a variant to compare with.
        within: largest errors in ADC counts, each a variant through the first run.
        min_samples: shorter reads are stored and restored, but not called.
        device: where to compute.

    Returns:
        0, or 2 where a file was left out.

    Raises:
        MissingExtra: a library is not installed.
        WeightsError: the network's weights are not on this machine.
        RunError: not a finished run of POD5 data.
        DataError: no usable file, or no reference.
        UserError: the command failed.
    """
    require_parts()
    aligner = None if reference is None else Reference(reference)
    caller = CommandCaller(command) if command else NetworkCaller(basecaller, device)
    coded = [Coded(path, name, device) for path, name in _named(runs)]
    variants: list[Variant] = [Lossless(), *(Truncated(bits) for bits in truncation if bits), *coded]
    variants += [Bounded(coded[0], counts) for counts in within]
    found = [discover(path, default_source("pod5")) for path in inputs]
    files = list(dict.fromkeys(file for each in found for file in each.files))
    if not command:
        _check_pores(files, basecaller)
    evaluation = BasecallEvaluation(
        basecaller=caller.name,
        reference=None if reference is None else str(reference),
        min_samples=min_samples,
        skipped=[item for each in found for item in each.skipped],
    )
    for file in files:
        try:
            evaluate_file(evaluation, file, variants, caller, aligner)
        except DataError as error:
            evaluation.skipped.append(Skipped(str(file), error.what))
    if not evaluation.storage:
        raise DataError("nothing to call", where=str(inputs[0]), how="give readable POD5 files")
    console.print(evaluation.table())
    for note in evaluation.notes():
        console.print(note, markup=False)
    folder = write_results(RunDirectory(runs[0]), evaluation)
    console.print(f"results: {folder}", markup=False)
    return 2 if evaluation.skipped else 0


def _named(runs: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Each run once, by its folder's name, or by its path where two folders have one name."""
    folders = list(dict.fromkeys(path.resolve() for path in runs))
    names = Counter(folder.name for folder in folders)
    for folder in folders:
        yield folder, folder.name if names[folder.name] == 1 else str(folder)


def parse_truncation(text: str) -> list[int]:
    """Numbers of bits from a list with commas.

    Raises:
        UserError: something else, or more bits than a sample can lose.
    """
    how = f"numbers from 0 to {MOST_BITS} with commas, for example 3,4,5"
    mistake = UserError(f"{text!r} is no list of bits to drop", where="--truncation", how=how)
    return _numbers(text, MOST_BITS, mistake)


def parse_within(text: str) -> list[int]:
    """Largest errors in ADC counts from a list with commas.

    Raises:
        UserError: something else, or more than a count can be off.
    """
    most = 1 << MOST_BITS
    how = f"numbers from 0 to {most} with commas, for example 4,8,16"
    mistake = UserError(f"{text!r} is no list of largest errors", where="--max-error", how=how)
    return _numbers(text, most, mistake)


def _numbers(text: str, most: int, mistake: UserError) -> list[int]:
    """Whole numbers up to `most`, in order."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isdecimal() and int(word) <= most for word in words):
        raise mistake
    return sorted({int(word) for word in words})


def write_results(run: RunDirectory, evaluation: BasecallEvaluation) -> Path:
    """Write figures as JSON, reads as CSV and a picture into the run; returns the folder."""
    folder = run.path / FOLDER
    folder.mkdir(exist_ok=True)
    atomic_write(folder / "basecalls.json", evaluation.to_json())
    atomic_write(folder / "reads.csv", evaluation.to_csv())
    atomic_write(folder / "basecalls.png", basecall_figure(evaluation))
    return folder


def evaluate_file(
    evaluation: BasecallEvaluation,
    file: Path,
    variants: Sequence[Variant],
    caller: Basecaller,
    aligner: Reference | None,
) -> None:
    """Call a file in all variants; none of them counts if one can't be made.

    Args:
        evaluation: what the figures are added to.
        file: a POD5 file.
        variants: the forms, the lossless one first.
        caller: calls each of them.
        aligner: the reference; None = compare with the lossless call alone.

    Raises:
        DataError: not a usable POD5 file, or a codec does not take it.
        ResourceError: the disk is full.
        UserError: the basecaller failed.
    """
    lengths = {read.id: len(read.adc) for read in adc_reads(file)}
    wanted = {read for read, length in lengths.items() if length >= evaluation.min_samples}
    storage, reads = [], []
    judge: _Judge | None = None
    for variant in variants:
        with tempfile.TemporaryDirectory(prefix="anycodec-") as folder:
            restored, sizes = variant.restore(file, Path(folder))
            console.print(f"{file.name}: calling {len(wanted)} reads, {variant.name}", markup=False)
            calls = caller.calls(restored, wanted)
            judge = judge or _Judge(aligner, calls)
            errors = dict(_errors(file, restored))
        kind, samples = variant.kind, sum(lengths.values())
        storage.append(Storage(variant.name, kind, sizes, samples, len(lengths), len(errors)))
        for read, length in lengths.items():
            if read in wanted:
                fields = judge.judge(calls.get(read, ""), read) | errors.get(read, {})
                reads.append(Read(variant.name, file.name, read, length, **fields))
    evaluation.add(storage, reads)


@dataclass(frozen=True, slots=True)
class _Judge:
    """What calls are compared with.

    Attributes:
        aligner: the reference; None = there is none.
        original: the lossless calls.
    """

    aligner: Reference | None
    original: Calls

    def judge(self, bases: str, read: str) -> dict[str, Any]:
        """The fields of a `Read` that come from its call."""
        alignment = self.aligner.align(bases) if self.aligner and bases else None
        before = self.original.get(read, "")
        return {
            "bases": len(bases),
            "identity": alignment.identity if alignment else None,
            "covered": alignment.covered if alignment else None,
            "agreement": call_identity(bases, before) if before else None,
        }


def _errors(original: Path, restored: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ids of the reads that came back whole, and the fields of a `Read` that say how near."""
    back = adc_reads(restored)
    after = next(back, None)
    for read in adc_reads(original):
        if after is None or after.id != read.id:
            continue
        if len(after.adc) == len(read.adc):
            difference = after.adc.astype(np.float64) - read.adc
            rmse = float(np.sqrt(np.square(difference).mean())) if len(difference) else 0.0
            yield read.id, {"rmse_adc": rmse, "rmse_pa": rmse * abs(read.scale)}
        after = next(back, None)


def _check_pores(files: Sequence[Path], basecaller: BasecallerName) -> None:
    """Warn of files from another pore than the caller knows; files that can't be read are told of later."""
    known = PORE_OF_CALLER[basecaller]
    for file in files:
        try:
            pores = {pore_of(info) for info in run_infos(file)} - {None, known}
        except DataError:
            continue
        for pore in sorted(map(str, pores)):
            warnings.warn(
                f"{file.name} is of the pore {pore}, and {basecaller} reads {known}: the bases will be "
                "wrong. Give a basecaller for it with --command",
                Notice,
                stacklevel=2,
            )
