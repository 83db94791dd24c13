"""`anycodec cat`: values of an `.acz` file to standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from anycodec.bitstream.container import AczReader
from anycodec.bitstream.parts import Choice, Selection
from anycodec.errors import UserError
from anycodec.io.base import Format
from anycodec.io.formats import get_format
from anycodec.types import FileInfo, Signal, SignalInfo
from anycodec.workflows.decompress import pipeline_of, restored
from anycodec.workflows.parts import Wanted, cut, described, needs_past

Form = Literal["text", "npy", "raw"]


def run(
    path: Path,
    run: Path | None,
    device: str,
    wanted: Wanted,
    form: Form | None,
    *,
    prior: Path | None = None,
) -> int:
    """Write the values of a file, or of parts of it, to standard output.

    text is the native CSV of a table, a line a read for nanopore, a line a row for arrays. npy is one array
    a signal, one after the other; raw the same without headers, little-endian.

    Args:
        path: the file.
        run: that wrote it; None = where the file says.
        device: auto, cpu or cuda.
        wanted: parts of it.
        form: None = text for series and reads, npy for pictures and video.
        prior: run of the learned prior that it needs; None = where the file says.

    Raises:
        FormatError: damaged, or written by another codec.
        UserError: text of pictures, or bytes for a terminal.
    """
    out = sys.stdout.buffer
    with AczReader(path) as reader:
        pipeline = pipeline_of(path, run, device, prior=prior)
        reader.require_codec(pipeline.fingerprint)
        format_ = get_format(reader.header.file.format)
        selection = wanted.selection(reader, pipeline, format_)
        if selection is None:  # the number of rows is in the index, and nowhere else before the end
            selection = reader.choose(Choice(), from_start=needs_past(reader, pipeline))
        chosen = form or ("text" if reader.header.file.format in ("pod5", "table", "array") else "npy")
        _check(chosen, selection)
        file = described(reader.header.file, selection, format_)
        signals = cut(restored(reader, pipeline, selection), selection, reader.header.file, format_)
        _write(out, chosen, file, signals, format_)
    out.flush()
    for name in wanted.not_found():
        print(f"not found: {name}", file=sys.stderr)
    return 2 if wanted.not_found() else 0


def _check(form: Form, selection: Selection) -> None:
    if form == "text":
        if selection.parts and selection.parts[0].info.axes != "TC":
            raise UserError("pictures and video have no text form", how="give --format npy or raw")
    elif sys.stdout.isatty():
        raise UserError(
            f"{form} is for programs, not for a terminal", how="write it to a file with > or to a pipe with |"
        )


def _write(
    out: BinaryIO, form: Form, file: FileInfo, signals: Iterable[Signal], format_: Format[Any]
) -> None:
    if form == "text":
        for piece in format_.text(file, signals):
            out.write(piece.encode())
        return
    info: SignalInfo | None = None
    for signal in signals:
        if form == "npy" and signal.info is not info:
            info = signal.info
            out.write(_npy_header(info, format_))
        values = format_.native(signal)
        out.write(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())


def _npy_header(info: SignalInfo, format_: Format[Any]) -> bytes:
    """What stands before the values of an array in NumPy's format."""
    buffer = BytesIO()
    dtype = format_.native_type(info).newbyteorder("<")
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": info.shape}
    )
    return buffer.getvalue()
