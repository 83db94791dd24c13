"""Called sequences as programs print them: FASTA, FASTQ or SAM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from anycodec.errors import UserError

_COMPLEMENT = str.maketrans("ACGTN", "TGCAN")
_FLAG, _SEQUENCE = 1, 9
"""Columns of a SAM record."""
_NOT_PRIMARY = 0x100 | 0x800
_REVERSED = 0x10
"""Bits of its flag."""

Sequences = Iterator[tuple[str, str]]
"""Read ids and bases, A C G T N."""


def read_sequences(lines: Iterable[str], where: str) -> Sequences:
    """Read ids and bases, whichever of the three formats it is.

    Args:
        lines: of the program's output.
        where: the program, for the message.

    Raises:
        UserError: none of them.
    """
    rest = (line.rstrip("\r\n") for line in lines)
    first = next((line for line in rest if line), None)
    if first is None:
        return
    everything = chain([first], rest)
    if first.startswith(">"):
        found = _fasta(everything)
    elif _is_sam(first):
        found = _sam(everything, where)
    elif first.startswith("@"):
        found = _fastq(everything)
    else:
        raise UserError(
            f"the basecaller printed neither FASTQ, FASTA nor SAM, but {first[:60]!r}",
            where=where,
            how="let it write sequences to its standard output (dorado: --emit-fastq or --emit-sam)",
        )
    for name, bases in found:
        yield name, bases.upper().replace("U", "T")


def _is_sam(line: str) -> bool:
    """A header line is a two-letter code and a tab; a record has eleven columns, a name of FASTQ none."""
    return line[:1] == "@" and line[3:4] == "\t" if line.startswith("@") else line.count("\t") >= 10


def _name(header: str) -> str:
    return header[1:].split(maxsplit=1)[0] if header[1:].strip() else ""


def _fasta(lines: Iterable[str]) -> Sequences:
    name, parts = "", list[str]()
    for line in lines:
        if line.startswith(">"):
            if name:
                yield name, "".join(parts)
            name, parts = _name(line), []
        else:
            parts.append(line.strip())
    if name:
        yield name, "".join(parts)


def _fastq(lines: Iterable[str]) -> Sequences:
    records = iter(lines)
    for header in records:
        if header:
            bases = next(records, "")
            next(records, None)
            next(records, None)
            yield _name(header), bases.strip()


def _sam(lines: Iterable[str], where: str) -> Sequences:
    """Primary records; those of the reverse strand are turned back to how they were called."""
    for line in lines:
        if line.startswith("@") or not line:
            continue
        columns = line.split("\t")
        if len(columns) <= _SEQUENCE or not columns[_FLAG].isdecimal():
            raise UserError(f"the basecaller printed a broken SAM record: {line[:60]!r}", where=where)
        flag, bases = int(columns[_FLAG]), columns[_SEQUENCE].upper().replace("*", "")
        if not flag & _NOT_PRIMARY:
            yield columns[0], bases.translate(_COMPLEMENT)[::-1] if flag & _REVERSED else bases
