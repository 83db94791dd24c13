"""Token files for language-model training: a flat `.bin` to be memory-mapped, and its `.idx`.

    x.bin   the tokens of all documents, little-endian uint16 or uint32, nothing else
    x.idx   magic "ACTOKIDX", then little-endian:
            uint32 version | uint32 bytes a token | uint64 documents D | uint64 tokens | uint64 bytes of JSON
            JSON of the layout, padded with spaces to a multiple of 8 bytes
            uint64 x (D + 1): where each document begins in the .bin, in tokens; the last = all tokens

A document is a signal; `anycodec.data.token_layout` says in which order its tokens are.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from anycodec.atomic import atomic_path
from anycodec.data.token_layout import Flat, TokenLayout, layout_from_json
from anycodec.errors import FormatError, UserError
from anycodec.types import Tokens

MAGIC = b"ACTOKIDX"
VERSION = 1
_HEAD = struct.Struct("<8sIIQQQ")
_LARGEST_JSON = 2**20


class TokenFileWriter:
    """Writes `.bin` and `.idx`, atomically: the `.idx` appears last.

    Args:
        path: of the `.bin`.
        layout: how tokens become a sequence.

    Raises:
        ResourceError: the disk is full.
    """

    def __init__(self, path: Path, layout: TokenLayout) -> None:
        self._path = path
        self._layout = layout
        self._resources = ExitStack()
        self._bin: BinaryIO
        self._idx: BinaryIO
        self.documents = 0
        self.tokens = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            idx = stack.enter_context(atomic_path(index_path(self._path)))
            self._idx = stack.enter_context(idx.open("wb"))
            bin_ = stack.enter_context(atomic_path(self._path))
            self._bin = stack.enter_context(bin_.open("wb"))
            self._write_head()
            self._write_offset()
            self._resources = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if value is not None:
            self._resources.__exit__(kind, value, trace)
            return
        with self._resources:
            self._idx.seek(0)
            self._write_head()

    def add(self, tokens: Tokens) -> None:
        """Some windows of the document at hand."""
        self._append(self._layout.flatten(tokens))

    def end_document(self) -> None:
        if self._layout.eos_token is not None:
            self._append(np.array([self._layout.eos_token], self._layout.dtype))
        self.documents += 1
        self._write_offset()

    def _append(self, flat: Flat) -> None:
        self._bin.write(flat.tobytes())
        self.tokens += len(flat)

    def _write_offset(self) -> None:
        self._idx.write(struct.pack("<Q", self.tokens))

    def _write_head(self) -> None:
        text = json.dumps(asdict(self._layout), sort_keys=True).encode()
        text += b" " * (-len(text) % 8)
        width = self._layout.dtype.itemsize
        self._idx.write(_HEAD.pack(MAGIC, VERSION, width, self.documents, self.tokens, len(text)) + text)


class TokenDataset(Sequence[Flat]):
    """Documents of a `.bin` with its `.idx`, memory-mapped: opening takes no time and no memory.

    Args:
        path: of the `.bin`.

    Attributes:
        layout: see `TokenLayout`.
        tokens: all of them, one document after the other.

    Raises:
        FormatError: missing, foreign, of another version, or the two files do not fit each other.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._index = index_path(self.path)
        documents, tokens, begin, self.layout = _read_head(self._index)
        self._require_size(self._index, begin + 8 * (documents + 1))
        self._require_size(self.path, tokens * self.layout.dtype.itemsize)
        self._offsets: NDArray[np.uint64] = np.memmap(
            self._index, np.dtype("<u8"), mode="r", offset=begin, shape=(documents + 1,)
        )
        if self._offsets[0] != 0 or self._offsets[-1] != tokens:
            raise self._damaged("its offsets do not span the .bin")
        self.tokens: Flat = (
            np.memmap(self.path, self.layout.dtype, mode="r") if tokens else np.zeros(0, self.layout.dtype)
        )

    def __len__(self) -> int:
        """Number of documents."""
        return len(self._offsets) - 1

    def __getitem__(self, index: Any) -> Any:
        """Tokens of a document, a view of the file.

        Raises:
            FormatError: its offsets are out of range.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        begin, end = (int(self._offsets[number + i]) for i in (0, 1))
        if not begin <= end <= len(self.tokens):
            raise self._damaged(f"document {number} runs from {begin} to {end} of {len(self.tokens)} tokens")
        return self.tokens[begin:end]

    def document(self, index: int) -> Tokens:
        """Tokens of a document as grids, without the token that ends it."""
        flat = self[index]
        return self.layout.restore(flat[:-1] if self.layout.eos else flat)

    def _require_size(self, path: Path, size: int) -> None:
        try:
            found = path.stat().st_size
        except FileNotFoundError as error:
            raise FormatError("there is no such file", where=str(path)) from error
        if found != size:
            raise self._damaged(f"{path.name} has {found} bytes where {size} are announced")

    def _damaged(self, what: str) -> FormatError:
        return FormatError(f"damaged token file: {what}", where=str(self._index), how="pack the tokens again")


def index_path(path: Path) -> Path:
    """The `.idx` of a `.bin`."""
    return path.with_suffix(".idx")


def _read_head(path: Path) -> tuple[int, int, int, TokenLayout]:
    """Documents, tokens, where the offsets begin, and the layout."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size or not head.startswith(MAGIC):
                raise FormatError("not an index of tokens", where=str(path), how="give the .bin of `pack`")
            _, version, width, documents, tokens, length = _HEAD.unpack(head)
            if version != VERSION:
                what = f"version {version} of token files; this anycodec reads version {VERSION}"
                raise FormatError(what, where=str(path))
            text = file.read(min(length, _LARGEST_JSON + 1))
    except FileNotFoundError as error:
        raise FormatError("there is no such file", where=str(path)) from error
    try:
        layout = layout_from_json(json.loads(text)) if len(text) == length <= _LARGEST_JSON else None
    except (ValueError, TypeError, KeyError, RecursionError, UserError):
        layout = None
    if layout is None or layout.dtype.itemsize != width:
        raise FormatError("damaged token file: its layout", where=str(path), how="pack the tokens again")
    return documents, tokens, _HEAD.size + length, layout
