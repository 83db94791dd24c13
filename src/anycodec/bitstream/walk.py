"""Reading all sections of a file in order."""

from __future__ import annotations

from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.frame import ANCILLARY, TOKENS_ONLY, Kind, Section
from anycodec.bitstream.index import Entry, may_lack_index, unpack_index
from anycodec.bitstream.limits import INDEXED
from anycodec.bitstream.network import Network, unpack_model
from anycodec.bitstream.restoration import path_of
from anycodec.bitstream.segment import PackedSegment, unpack_segment
from anycodec.bitstream.signal_info import SignalCoder
from anycodec.bitstream.totals import Totals
from anycodec.types import SignalInfo


class Walk:
    """Takes the sections of a file in order and checks that they agree with each other.

    Args:
        levels: token grids a segment.
        last_index: offset of the last INDEX section, as the END section says.
        version: of the file.
        signals: reads their descriptions.

    Attributes:
        info: the signal of the last segment.
        totals: sums over what was taken.
        models: networks that predict, by number.

    Raises:
        Damaged: by every method.
    """

    def __init__(self, levels: int, last_index: int, version: int, signals: SignalCoder) -> None:
        self.info: SignalInfo | None = None
        self.totals = Totals()
        self.models: dict[int, Network] = {}
        self._levels, self._version = levels, version
        self._signals = signals
        self._entries: list[Entry] = []
        self._last_index = 0
        self._expected_last_index = last_index

    def step(self, section: Section) -> PackedSegment | None:
        """Take the next section; a segment is handed on."""
        if section.type == Kind.SEGMENT:
            return self._segment(section)
        if section.type == Kind.SIGNAL:
            number = self.totals.signals
            self.info = self._signals.unpack(number, section.payload)
            self._note(Entry(Kind.SIGNAL, section.offset, number))
            self.totals.add_signal(len(section.payload))
        elif section.type == Kind.INDEX:
            self._index(section)
        elif section.type == Kind.MODEL and self._version != TOKENS_ONLY:
            self._model(section)
        elif section.type < ANCILLARY:
            raise Damaged(f"a section of unknown type {section.type}; a newer anycodec may read it")
        return None

    def finish(self, totals: Totals) -> None:
        """All sections were taken; `totals` is what the file claims."""
        if self._last_index != self._expected_last_index or not may_lack_index(
            self._version, self._last_index, len(self._entries)
        ):
            raise Damaged("the index is incomplete")
        if totals != self.totals:
            raise Damaged("the totals do not agree with the content")

    def _segment(self, section: Section) -> PackedSegment:
        if self.info is None:
            raise Damaged("a segment before the first signal")
        number = self.totals.signals - 1
        segment = unpack_segment(number, self.info, self._levels, section.payload, self._version)
        self._note(Entry(Kind.SEGMENT, section.offset, number, segment.start, segment.length))
        self.totals.add_segment(self.info, segment.length, segment.shapes, segment.sizes)
        if segment.restoration:
            self.totals.add_path(path_of(segment.restoration))
        return segment

    def _model(self, section: Section) -> None:
        number = len(self.models)
        self.models[number] = unpack_model(number, section.payload)
        self._note(Entry(Kind.MODEL, section.offset, max(0, self.totals.signals - 1)))
        self.totals.models += len(section.payload)

    def _note(self, entry: Entry) -> None:
        if len(self._entries) == INDEXED:
            raise Damaged(f"no index after {INDEXED} sections")
        self._entries.append(entry)

    def _index(self, section: Section) -> None:
        if unpack_index(section.payload) != (self._last_index, self._entries):
            raise Damaged("the index does not agree with the sections before it")
        self._last_index = section.offset
        self._entries = []
