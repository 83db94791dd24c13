"""One segment in memory at a time, however long the file."""

import subprocess
import sys
import textwrap
import tracemalloc

import acz_files as acz
import numpy as np
import pytest

from anycodec.bitstream import container
from anycodec.bitstream.container import AczReader, AczWriter, SegmentData
from anycodec.types import Tokens

NOISE = 2**16
"""Bytes that wait for the garbage collector."""


def write(path, segments: int, signals: int) -> None:
    rng = np.random.default_rng(0)
    with AczWriter(path, acz.make_header(), acz.make_coder()) as writer:
        for number in range(signals):
            info = acz.make_info(0, id=f"{number}", shape=(100 * segments, 1))
            for i in range(segments):
                tokens = Tokens((rng.integers(0, 64, (50, 40)),), (64,))
                writer.add(info, SegmentData(start=100 * i, length=100, tokens=tokens))


def read(path) -> int:
    with AczReader(path) as reader:
        return sum(segment.length for _, segment in reader.segments(acz.make_coder()))


def peak(action, *arguments) -> int:
    tracemalloc.start()
    try:
        action(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("segments", "signals"), [(10, 1), (1, 10)])
def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch, segments, signals):
    """10 and 100 times as long, with an index section every 8 entries."""
    monkeypatch.setattr(container, "INDEXED", 8)
    short, long = tmp_path / "short.acz", tmp_path / "long.acz"
    write(short, 1, 1)
    assert read(short) == 100
    yardstick = peak(write, short, segments, signals)
    for factor in (10, 100):
        many = [factor * count if count > 1 else 1 for count in (segments, signals)]
        assert peak(write, long, *many) < 1.1 * yardstick + NOISE
    assert peak(read, long) < 1.1 * peak(read, short) + NOISE
    assert long.stat().st_size > 50 * short.stat().st_size


def test_reading_needs_no_framework(tmp_path):
    path = acz.write_small(tmp_path / "a.acz")
    code = textwrap.dedent(f"""
        import sys
        from anycodec.bitstream.container import AczReader
        with AczReader({str(path)!r}) as reader:
            reader.verify()
        print(sorted({{"torch", "jax", "pandas", "pod5", "matplotlib"}} & set(sys.modules)))
    """)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
