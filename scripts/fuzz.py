"""Coverage-guided fuzzing of what reads untrusted bytes: files, token streams, residual streams.

    python scripts/fuzz.py run CORPUS -max_total_time=1800     # needs atheris; options are those of libFuzzer
    python scripts/fuzz.py seeds CORPUS                        # writes the inputs to begin with
    python scripts/fuzz.py replay CORPUS

An input is a byte that names the target and what it is given. Files are given without checksums, which are
put in before they are read: what is behind them is what is tested. A reader may refuse in its own words,
`Damaged` or `FormatError`; whatever else it raises, endless loops and memory beyond the limits are finds. The
limits are lowered, so that what they allow stays quick.
"""

from __future__ import annotations

import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

LOWERED = {"MOST_TOKENS": 2**14, "MOST_RESTORED": 2**14, "MOST_STATISTICS": 2**14, "MOST_MASKED": 2**16}
SIZES = (64, 8)
PROLOGUE = b"\x89ACZ\r\n\x1a\n"
SHAPES: dict[str, Callable[[int, int], tuple[int, ...]]] = {
    "TC": lambda n, c: (n, c),
    "HWC": lambda n, c: (1 + n // 16, 1 + n % 16, c),
    "THWC": lambda n, c: (1 + n // 64, 1 + n // 8 % 8, 1 + n % 8, c),
}


def check(data: bytes) -> None:
    """Give an input to its target.

    Raises:
        Exception: the target raised what it may not.
    """
    if data:
        targets = (read_file, read_tokens, read_residual, read_statistics)
        targets[data[0] % len(targets)](data[1:])


# --- targets ------------------------------------------------------------------------------------


def read_file(bare: bytes) -> None:
    """A file in order, by its index, and what can be salvaged of it."""
    from anycodec.bitstream.container import AczReader
    from anycodec.bitstream.parts import Choice
    from anycodec.bitstream.salvage import SalvageReader
    from anycodec.errors import FormatError

    with tempfile.NamedTemporaryFile(dir=_memory(), suffix=".acz") as file:
        file.write(whole(bare))
        file.flush()
        for reader_of, choice in (
            (AczReader, None),
            (AczReader, Choice(stretch=slice(3, 60))),
            (SalvageReader, None),
        ):
            try:
                with reader_of(file.name) as reader:
                    selection = reader.choose(choice) if choice else None
                    if isinstance(reader, SalvageReader):
                        selection = reader.salvaged()
                        reader.gaps(selection)
                    for info, segment in reader.segments(coder(), selection):
                        _restore(
                            segment.restoration, info.axes, (segment.length, *info.shape[1:]), reader.models
                        )
            except FormatError:
                pass


def read_tokens(data: bytes) -> None:
    """A token stream of either level, with and without context."""
    from anycodec.bitstream.fields import Damaged

    if len(data) < 3:
        return
    n = int.from_bytes(data[1:3], "little") % 2**13
    coarser = np.arange(n) % SIZES[0]
    with suppress(Damaged):
        coder().decode(data[3:], n, data[0] % 2, coarser)


def read_residual(data: bytes) -> None:
    """A RESTORATION part of a series, a picture or a video."""
    if len(data) >= 3:
        axes = tuple(SHAPES)[data[0] % 3]
        _restore(data[3:], axes, SHAPES[axes](data[1], 1 + data[2] % 3), {})


def read_statistics(data: bytes) -> None:
    """Statistics of windows on the coarse grid."""
    from anycodec.bitstream.coarse import read_coarse
    from anycodec.bitstream.fields import Damaged, FieldReader

    if len(data) >= 2:
        with suppress(Damaged):
            read_coarse(FieldReader(data[2:]), 1 + 4 * data[0], 1 + data[1] % 3)


def _restore(part: bytes, axes: Any, shape: tuple[int, ...], models: Any) -> None:
    from anycodec.bitstream import restoration
    from anycodec.bitstream.fields import Damaged

    if not part or np.prod(shape) > LOWERED["MOST_RESTORED"]:
        return
    with suppress(Damaged):
        restoration.unpack(part, axes, shape, models, np.zeros(shape))


def coder() -> Any:
    """The entropy coder of all inputs: two levels, the second in the context of the first."""
    if not _made:
        from anycodec.bitstream.context import TokenContext
        from anycodec.bitstream.entropy import AdaptiveCoder

        priors = [np.arange(1, size + 1) for size in SIZES]
        groups = [np.arange(size) % 4 for size in SIZES]
        pairs = np.arange(16).reshape(4, 4)
        contexts = {
            0: TokenContext(groups=groups[0], pairs=pairs, coarser=None),
            1: TokenContext(groups=groups[1], pairs=pairs, coarser=groups[0]),
        }
        _made.append(AdaptiveCoder(priors, contexts))
    return _made[0]


_made: list[Any] = []


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


# --- files without checksums --------------------------------------------------------------------


def whole(bare: bytes) -> bytes:
    """A file from a byte for its version and sections as type, length and payload.

    The last section is taken for END, so that the trailer is always right.
    """
    version = struct.pack("<HH", 1 + bare[0] % 2 if bare else 1, 0)
    content = PROLOGUE + version
    content += _crc(content)
    end = len(content)
    for kind, payload in _sections(bare[1:]):
        end = len(content)
        section = struct.pack("<BI", kind, len(payload)) + payload
        content += section + _crc(section)
    offset, mark = struct.pack("<Q", end), b"ACZ.END\n"
    return content + offset + _crc(offset + mark) + mark


def stripped(file: bytes) -> bytes:
    """Inverse of `whole`."""
    bare, place = bytes([file[8] - 1]), 16
    while place < len(file) - 20:
        length = int.from_bytes(file[place + 1 : place + 5], "little")
        bare += file[place : place + 5 + length]
        place += 9 + length
    return bare


def _sections(bare: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 5 <= len(bare):
        kind, length = struct.unpack_from("<BI", bare, place)
        yield kind, bare[place + 5 : place + 5 + length]
        place += 5 + min(length, len(bare))


def _crc(data: bytes) -> bytes:
    return struct.pack("<I", google_crc32c.value(data))


# --- corpus -------------------------------------------------------------------------------------


def seeds() -> Iterator[bytes]:
    """Inputs that reach deep: the files kept for tests, and streams of each kind."""
    from anycodec.bitstream import restoration, wide
    from anycodec.bitstream.grid import Decimal, Grid

    root = Path(__file__).parents[1] / "tests" / "golden"
    for path in sorted([*root.glob("acz*/*.acz"), *root.glob("acz_v1/*/*.acz")]):
        yield b"\0" + stripped(path.read_bytes())
    rng = np.random.default_rng(0)
    for level, size in enumerate(SIZES):
        for n in (0, 1, 300):
            symbols = rng.integers(0, size, n) // rng.integers(1, 3)
            stream = coder().encode(symbols, level, np.arange(n) % SIZES[0])
            yield b"\1" + bytes([level]) + n.to_bytes(2, "little") + stream
    for number, (axes, shape_of) in enumerate(SHAPES.items()):
        for n, channels in ((5, 1), (40, 2), (200, 3)):
            shape = shape_of(n, channels)
            values = rng.integers(-3, 4, shape).cumsum(axis=0)
            grid = Grid((Decimal(0, 0, 0),) * channels)
            head = bytes([2, number, n, channels - 1])
            yield head + restoration.pack_plain(values, grid, axes)
            yield head + restoration.pack_codec(values, grid, axes, values + rng.normal(size=shape))
            yield head + restoration.pack_raw(values.astype(np.int16))
    walk = rng.integers(-3, 4, (200, 1)).cumsum(axis=0)
    yield bytes([2, 0, 200, 0]) + restoration.pack_wide(walk, Grid((Decimal(0, 0, 0),)), wide.NANOPORE)
    yield from _listed()
    yield from _brief()
    yield from _statistics()


def _listed() -> Iterator[bytes]:
    """Series on grids that list their numbers, alone and beside others."""
    from anycodec.bitstream import restoration
    from anycodec.bitstream.grid import Decimal, Grid
    from anycodec.bitstream.listed import Listed

    rng = np.random.default_rng(0)
    for places, count in ((0, 1), (2, 5), (15, 40)):
        channel = Listed(np.cumsum(rng.integers(1, 99, count)) - 50, places)
        ranks = rng.integers(0, count, (200, 2))
        yield bytes([2, 0, 200, 0]) + restoration.pack_plain(ranks[:, :1], Grid((channel,)), "TC")
        yield bytes([2, 0, 200, 1]) + restoration.pack_plain(ranks, Grid((channel, Decimal(2, 1, 7))), "TC")


def _brief() -> Iterator[bytes]:
    """Whole files with brief headers: of one segment without an index, and of several signals."""
    from anycodec.bitstream import restoration
    from anycodec.bitstream.container import AczWriter, Bound, Header, SegmentData
    from anycodec.bitstream.grid import Grid
    from anycodec.bitstream.listed import Listed
    from anycodec.types import FileInfo, SignalInfo, Tokens

    ranks = np.arange(120)[:, None] % 5
    part = restoration.pack_plain(ranks, Grid((Listed(np.array([-9, 0, 30, 31, 400]), 2),)), "TC")
    for names in (("",), ("a", "b/c")):
        header = Header(
            program="anycodec", source_name="a.csv", source={"type": "table"}, codebook_sizes=SIZES,
            file=FileInfo(path="a.csv", format="table", n_signals=len(names)),
            codec={"fingerprint": "ab" * 32, "run": "r"}, bound=Bound(max_error=0.0),
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "a.acz")
            with AczWriter(path, header, coder()) as writer:
                for name in names:
                    info = SignalInfo(id=name, axes="TC", shape=(120, 1), dtype="float64")
                    grids = tuple(np.arange(8).reshape(2, 4) % size for size in SIZES)
                    tokens = Tokens(grids, SIZES)
                    writer.add(info, SegmentData(start=0, length=120, tokens=tokens, restoration=part))
            yield b"\0" + stripped(path.read_bytes())


def _statistics() -> Iterator[bytes]:
    from anycodec.bitstream.coarse import coarse, pack_coarse
    from anycodec.types import Affine

    rng = np.random.default_rng(0)
    for rows in (1, 5, 161):
        shift, scale = rng.normal(size=(2, rows, 2)).cumsum(axis=1).astype(np.float32)
        data = pack_coarse(coarse(Affine(shift, np.exp(scale))))
        assert data is not None
        yield bytes([3, rows // 4, 1]) + data


def lower_limits() -> None:
    """In every module that has its own name for one."""
    import anycodec.bitstream.container
    import anycodec.bitstream.salvage  # noqa: F401

    for name, module in list(sys.modules.items()):
        for limit, value in LOWERED.items():
            if name.startswith("anycodec.bitstream") and hasattr(module, limit):
                setattr(module, limit, value)


def main() -> None:
    """Do what the words say."""
    verb, folder, *options = sys.argv[1:]
    corpus = Path(folder)
    if verb == "seeds":
        corpus.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(seeds()):
            (corpus / f"seed-{number:02}").write_bytes(data)
    elif verb == "replay":
        for path in sorted(corpus.iterdir()):
            check(path.read_bytes())
    else:
        import atheris

        with atheris.instrument_imports(include=["anycodec.bitstream"]):
            lower_limits()
        for data in seeds():  # what is compiled when it is first used is no find
            check(data)
        atheris.Setup([sys.argv[0], *options, str(corpus)], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
