"""The header of an `.acz` file: where it is from and which codec made it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

from anycodec.bitstream import entropy, jsons
from anycodec.bitstream.deflate import deflate, inflate
from anycodec.bitstream.dictionary import PRESET
from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.limits import LARGEST_CODEBOOK, LARGEST_JSON, MOST_LEVELS
from anycodec.types import FileInfo

RESTORATION = "restoration"
"""Entry of `requires` in files whose segments hold what restores their values within a bound."""
PRIOR = "prior"
"""Entry of `requires` in files whose tokens are coded with a learned prior."""
STATISTICS = "statistics"
"""Entry of `requires` in files whose statistics may be on a coarse grid."""
Unit = Literal["native", "relative"]
_IN_JSON, _AS_BYTES = 0, 1
"""Where the fingerprint of the codec stands in a brief header."""
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a file promises of each of its values: |x - restored| <= max_error.

    Attributes:
        max_error: E >= 0; 0 = the values return bit for bit.
        unit: native, the signal's own, or relative to the range of its channel in each segment.
    """

    max_error: float
    unit: Unit = "native"

    @property
    def lossless(self) -> bool:
        """Whether nothing may be lost."""
        return self.max_error == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a reader must know before the first segment.

    Attributes:
        program: name and version of the writer.
        source_name: name of the native file, without folders.
        file: what its io module needs to write it again; `file.path` is not stored, it reads as
            `source_name`.
        source: the data settings of the run (`type`, `window`, `normalizer`, ...), JSON-serialisable.
        codec: `fingerprint`, and hints for people: `run`, `name`, `type`, `quantizer`, `engine`.
        codebook_sizes: number of codes a level.
        coder: name of the entropy coder.
        bound: what every value was promised, None where tokens are all there is.
        rate: what the writer was asked for: `asked`, and the `levels` it kept `of` those of the run.
        coarse: statistics may be on a coarse grid.
        prior: the learned prior that codes tokens: `fingerprint`, and `run`, a hint; None where none does.
    """

    program: str
    source_name: str
    file: FileInfo
    source: Mapping[str, Any]
    codec: Mapping[str, Any]
    codebook_sizes: tuple[int, ...]
    coder: str = field(default=entropy.NAME)
    bound: Bound | None = None
    rate: Mapping[str, Any] | None = None
    prior: Mapping[str, str] | None = None
    coarse: bool = False

    @property
    def requires(self) -> list[str]:
        """What a reader of version 1 does not know."""
        needs = [(RESTORATION, self.bound), (PRIOR, self.prior), (STATISTICS, self.coarse or None)]
        return [name for name, need in needs if need is not None]


def pack_header(header: Header) -> bytes:
    """Payload of the HEADER section."""
    text = jsons.dump(_to_json(header))
    fields = FieldWriter()
    fields.uint(len(text))
    fields.raw(deflate(text))
    return bytes(fields.data)


def unpack_header(payload: bytes) -> Header:
    """Inverse of `pack_header`; unknown entries are passed over.

    Raises:
        Damaged: an entry is missing or not what it should be.
    """
    fields = FieldReader(payload)
    size = fields.uint(LARGEST_JSON, "size of the header")
    return _from_json(jsons.load(inflate(fields.rest(), size)))


def pack_brief(header: Header) -> bytes:
    """Payload of the BRIEF section: the same against a preset dictionary, the fingerprint in 32 bytes."""
    document, fields = _to_json(header), FieldWriter()
    fingerprint = str(header.codec.get("fingerprint"))
    if _SHA256.fullmatch(fingerprint):
        fields.byte(_AS_BYTES)
        fields.raw(bytes.fromhex(fingerprint))
        document["codec"] = {name: value for name, value in header.codec.items() if name != "fingerprint"}
    else:
        fields.byte(_IN_JSON)
    text = jsons.dump(document)
    fields.uint(len(text))
    fields.raw(deflate(text, PRESET))
    return bytes(fields.data)


def unpack_brief(payload: bytes) -> Header:
    """Inverse of `pack_brief`; unknown entries are passed over.

    Raises:
        Damaged: an entry is missing or not what it should be.
    """
    fields = FieldReader(payload)
    place = fields.byte()
    if place not in (_IN_JSON, _AS_BYTES):
        raise Damaged(f"a fingerprint in unknown form {place}")
    fingerprint = {"fingerprint": fields.raw(32).hex()} if place == _AS_BYTES else {}
    size = fields.uint(LARGEST_JSON, "size of the header")
    document = jsons.load(inflate(fields.rest(), size, PRESET))
    document["codec"] = fingerprint | jsons.get(document, "codec", dict)
    return _from_json(document)


def _to_json(header: Header) -> jsons.Json:
    return (
        {
            "program": header.program,
            "source_name": header.source_name,
            "file": file_to_json(header.file),
            "source": header.source,
            "codec": header.codec,
            "codebook_sizes": header.codebook_sizes,
            "coder": header.coder,
        }
        | ({"requires": header.requires} if header.requires else {})
        | ({} if header.bound is None else {"bound": asdict(header.bound)})
        | ({} if header.rate is None else {"rate": dict(header.rate)})
        | ({} if header.prior is None else {"prior": dict(header.prior)})
    )


def _from_json(document: jsons.Json) -> Header:
    name = jsons.get(document, "source_name", str)
    sizes = jsons.get_extents(document, "codebook_sizes")
    if not 1 <= len(sizes) <= MOST_LEVELS or not all(2 <= size <= LARGEST_CODEBOOK for size in sizes):
        raise Damaged(f"codebook sizes {list(sizes[:8])} are out of bounds")
    coder = jsons.get(document, "coder", str)
    if coder not in entropy.NAMES:
        raise Damaged(f"unknown entropy coder {coder!r}; a newer anycodec may read it")
    _check_needs(document)
    return Header(
        program=jsons.get(document, "program", str),
        source_name=name,
        file=file_from_json(jsons.get(document, "file", dict), name),
        source=jsons.get(document, "source", dict),
        codec=jsons.get(document, "codec", dict),
        codebook_sizes=sizes,
        coder=coder,
        bound=_bound(document),
        rate=jsons.get(document, "rate", dict) if "rate" in document else None,
        prior=_prior(document),
        coarse=STATISTICS in document.get("requires", ()),
    )


def file_to_json(file: FileInfo) -> jsons.Json:
    """A file's description as JSON, without its path."""
    return {"format": file.format, "n_signals": file.n_signals, "meta": file.meta}


def file_from_json(document: jsons.Json, path: str) -> FileInfo:
    """Inverse of `file_to_json` for a file of this path.

    Raises:
        Damaged: an entry is missing or not what it should be.
    """
    return FileInfo(
        path=path,
        format=jsons.get(document, "format", str),
        n_signals=jsons.get(document, "n_signals", int),
        meta=jsons.get(document, "meta", dict),
    )


def _check_needs(document: jsons.Json) -> None:
    """Refuse a file that needs what this program does not know."""
    for need in jsons.get(document, "requires", list) if "requires" in document else ():
        if need not in (RESTORATION, PRIOR, STATISTICS):
            raise Damaged(f"the file requires {need!r:.80}; a newer anycodec may read it")


def _prior(document: jsons.Json) -> Mapping[str, str] | None:
    if "prior" not in document:
        return None
    prior = jsons.get(document, "prior", dict)
    return {name: jsons.get(prior, name, str) for name in ("fingerprint", "run")}


def _bound(document: jsons.Json) -> Bound | None:
    if "bound" not in document:
        return None
    bound = jsons.get(document, "bound", dict)
    most, unit = jsons.as_number(bound.get("max_error"), "max_error"), jsons.get(bound, "unit", str)
    if most < 0 or unit not in ("native", "relative"):
        raise Damaged(f"a bound of {most} {unit:.80}")
    return Bound(max_error=most, unit=cast(Unit, unit))
