"""SIGNAL sections: the description of a signal, coded against that of the file's first signal.

The reads of a file have descriptions that differ in a few numbers: DEFLATE gets the first one as
preset dictionary, and ids that are UUIDs are stored as their 16 bytes.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from anycodec.bitstream import jsons
from anycodec.bitstream.deflate import deflate, inflate
from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.limits import LARGEST_EXTENT, LARGEST_JSON
from anycodec.types import Axes, SignalInfo

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
"""Native types by their NumPy names."""
_AXES = ("TC", "HWC", "THWC")
_USUAL: dict[str, Any] = {
    "rate": None,
    "unit": "",
    "channels": (),
    "value_range": None,
    "label": None,
    "meta": {},
}
"""Entries that are left out at these values."""
_TEXT_ID, _UUID_ID = 0, 1


class SignalCoder:
    """Codes the descriptions of one file in order, writing or reading.

    Args:
        dictionary: preset dictionary of signal 0.
    """

    def __init__(self, dictionary: bytes = b"") -> None:
        self._dictionary = dictionary
        self._first = b""

    def pack(self, number: int, info: SignalInfo) -> bytes:
        """Payload of the section of signal `number`, counted from 0.

        Raises:
            ValueError: a type of values or metadata that the format can't hold.
        """
        if info.dtype not in DTYPES or len(info.shape) != len(info.axes):
            raise ValueError(f"a signal of {info.dtype} values, axes {info.axes} and shape {info.shape}")
        fields = FieldWriter()
        fields.uint(number)
        document = signal_to_json(info)
        uuid = _uuid(info.id)
        fields.byte(_TEXT_ID if uuid is None else _UUID_ID)
        if uuid is not None:
            fields.raw(uuid)
            del document["id"]
        text = jsons.dump(document)
        fields.uint(len(text))
        fields.raw(deflate(text, self._before(number)))
        self._first = self._first or text
        return bytes(fields.data)

    def unpack(self, number: int, payload: bytes) -> SignalInfo:
        """Inverse of `pack`.

        Raises:
            Damaged: not the description of signal `number`.
        """
        fields = FieldReader(payload)
        if fields.uint(LARGEST_EXTENT, "number of the signal") != number:
            raise Damaged(f"signal {number} expected, another found")
        kind = fields.byte()
        if kind not in (_TEXT_ID, _UUID_ID):
            raise Damaged(f"unknown kind of id {kind}")
        uuid = str(UUID(bytes=fields.raw(16))) if kind == _UUID_ID else None
        size = fields.uint(LARGEST_JSON, "size of the description")
        text = inflate(fields.rest(), size, self._before(number))
        document = jsons.load(text)
        self._first = self._first or text
        return signal_from_json(document if uuid is None else {**document, "id": uuid})

    def _before(self, number: int) -> bytes:
        """Preset dictionary of signal `number`."""
        if number == 0:
            return self._dictionary
        if not self._first:
            raise Damaged("the description of the first signal, which this one refers to, is lost")
        return self._first


def _uuid(text: str) -> bytes | None:
    """The 16 bytes of a UUID in its usual spelling."""
    if len(text) != 36:
        return None
    try:
        uuid = UUID(text)
    except ValueError:
        return None
    return uuid.bytes if str(uuid) == text else None


def signal_to_json(info: SignalInfo) -> dict[str, Any]:
    """A description as JSON, without the entries that have their usual values."""
    document: dict[str, Any] = {"id": info.id, "axes": info.axes, "shape": info.shape, "dtype": info.dtype}
    optional = {key: getattr(info, key) for key in _USUAL}
    return document | {key: value for key, value in optional.items() if value != _USUAL[key]}


def signal_from_json(document: dict[str, Any]) -> SignalInfo:
    """Inverse of `signal_to_json`.

    Raises:
        Damaged: an entry is missing or not what it should be.
    """
    axes = jsons.get(document, "axes", str)
    shape = jsons.get_extents(document, "shape")
    if axes not in _AXES or len(shape) != len(axes):
        raise Damaged(f"a signal of axes {axes!r} and shape {list(shape[:8])}")
    dtype = jsons.get(document, "dtype", str)
    if dtype not in DTYPES:
        raise Damaged(f"unknown type of values {dtype!r}")
    channels = document.get("channels", [])
    if not isinstance(channels, list) or not all(isinstance(name, str) for name in channels):
        raise Damaged("`channels` is not a list of names")
    return SignalInfo(
        id=jsons.get(document, "id", str),
        axes=cast(Axes, axes),
        shape=shape,
        dtype=dtype,
        rate=jsons.get_number(document, "rate"),
        unit=jsons.get(document, "unit", str) if "unit" in document else "",
        channels=tuple(channels),
        value_range=_range(document.get("value_range")),
        label=jsons.get_text(document, "label"),
        meta=jsons.get(document, "meta", dict) if "meta" in document else {},
    )


def _range(value: object) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise Damaged("`value_range` is not a pair of numbers")
    low, high = (jsons.as_number(number, "value_range") for number in value)
    return low, high
