"""Bases called from current, and how many of them are right."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.errors import DataError, MissingExtra

EXTRA = "basecalls"
BEAM = 5
BEAM_CUT = 1e-3
"""Labels below this probability are not tried."""
ALPHABET = "NACGT"
"""Labels of a frame; the first stands for no base."""


def require_parts() -> None:
    """Refuse early what would fail late.

    Raises:
        MissingExtra: a library that calls or aligns is not installed.
    """
    for part in ("fast_ctc_decode", "mappy", "edlib"):
        _library(part)


def decode_ctc(probabilities: NDArray[np.float32]) -> str:
    """The bases that a beam search finds most probable.

    Args:
        probabilities: [F 5], of no base, A, C, G and T.

    Raises:
        MissingExtra: fast-ctc-decode is not installed.
    """
    if not len(probabilities):
        return ""
    bases, _ = _library("fast_ctc_decode").beam_search(
        np.ascontiguousarray(probabilities), ALPHABET, beam_size=BEAM, beam_cut_threshold=BEAM_CUT
    )
    return str(bases)


@dataclass(frozen=True, slots=True)
class Alignment:
    """The best place of a call in a reference.

    Attributes:
        identity: matches / columns of the alignment, gaps counted.
        covered: share of the call that is aligned.
    """

    identity: float
    covered: float


class Reference:
    """Sequences to align to, with minimap2's settings for nanopore reads.

    Args:
        path: FASTA or FASTQ, also gzipped.

    Raises:
        DataError: missing, or without sequences.
        MissingExtra: mappy is not installed.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise DataError("the reference does not exist", where=str(path), how="give a FASTA file")
        self._aligner = _library("mappy").Aligner(str(path), preset="map-ont")
        if not self._aligner or not self._aligner.seq_names:
            raise DataError("no sequences in the reference", where=str(path), how="give a FASTA file")

    def align(self, bases: str) -> Alignment | None:
        """The alignment with the most matches; None where there is none."""
        best = max(self._aligner.map(bases), key=lambda hit: hit.mlen, default=None)
        if best is None:
            return None
        return Alignment(best.mlen / best.blen, (best.q_en - best.q_st) / len(bases))


def call_identity(bases: str, original: str) -> float:
    """Matches / columns of the global alignment with the fewest edits of two calls of one read.

    Raises:
        MissingExtra: edlib is not installed.
    """
    if not bases or not original:
        return float(bases == original)
    found = _library("edlib").align(bases, original, mode="NW", task="path")
    columns = sum(count for count, _ in _cigar(found["cigar"]))
    return 1 - int(found["editDistance"]) / columns


def _cigar(text: str) -> list[tuple[int, str]]:
    """Lengths and operations of a CIGAR string."""
    return [(int(count), kind) for count, kind in re.findall(r"(\d+)([=XID])", text)]


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtra(name.replace("_", "-"), EXTRA) from error
