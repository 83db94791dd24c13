"""`anycodec pack`: shards of tokens -> one flat file for language-model training."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from anycodec.data.token_layout import Order, TokenLayout
from anycodec.data.tokens import TokenFileWriter, index_path
from anycodec.errors import UserError
from anycodec.workflows.console import out as console
from anycodec.workflows.progress import track
from anycodec.workflows.shards.token_set import TokenSet


def run(folder: Path, out: Path, *, order: Order = "interleaved", eos: bool = False) -> int:
    """Write `out` (.bin) and its `.idx`; see `anycodec.data.tokens`.

    Args:
        folder: the token set.
        out: the `.bin` to write.
        order: of the levels.
        eos: end each signal with a token of its own.

    Raises:
        FormatError: not a token set, or damaged.
        UserError: a file exists already, or the levels can't be interleaved.
        ResourceError: the disk is full.
    """
    if out.suffix != ".bin":
        raise UserError(f"{out.name} does not end in .bin", where=str(out), how="for example -o tokens.bin")
    for path in (out, index_path(out)):
        if path.exists():
            raise UserError(f"{path.name} exists already", where=str(path), how="choose another name with -o")
    tokens = TokenSet(folder)
    layout = TokenLayout(
        codebook_sizes=tokens.header.codebook_sizes,
        grids=tokens.header.grids,
        order=order,
        eos=eos,
        codec=tokens.header.codec,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    signals = groupby(tokens.rows(), key=lambda row: (row.source, row.signal))
    with TokenFileWriter(out, layout) as writer:
        for _, rows in track(signals, tokens.manifest.totals()["signals"], "packing"):
            for row in rows:
                writer.add(row.data.tokens)
            writer.end_document()
    console.print(
        f"{writer.documents:,} documents, {writer.tokens:,} tokens of a vocabulary of {layout.vocabulary:,} "
        f"({layout.dtype.name}) -> {out}",
        markup=False,
    )
    return 0
