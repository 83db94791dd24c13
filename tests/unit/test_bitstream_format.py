"""FORMAT.md is enough to write a reader: `independent_reader`, from that text alone, beside ours."""

import json
import subprocess
import sys
from pathlib import Path

import acz_files as acz
import independent_reader
import numpy as np
import pytest
from independent_fields import Fields, crc32c, inflate
from independent_reader import decode_in_context, decode_tokens, sections, segment, signal
from safetensors.numpy import load_file

from anycodec.bitstream import restoration
from anycodec.bitstream.adaptation import bounded
from anycodec.bitstream.container import AczReader, AczWriter, Bound, SegmentData
from anycodec.bitstream.context import ContextCoder, TokenContext
from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.bitstream.grid import Grid
from anycodec.types import Tokens
from anycodec.workflows.statistics import token_coder

GOLDEN = Path(__file__).parents[1] / "golden" / "acz"


def test_crc_of_the_specification():
    assert crc32c(b"123456789") == 0xE3069283


def test_golden_file_by_the_specification():
    expected = json.loads((GOLDEN / "v1.json").read_text())
    found = sections((GOLDEN / "v1.acz").read_bytes())
    assert [kind for kind, _, _ in found] == [1, 2, 3, 3, 2, 3, 2, 3, 4, 5]
    fields = Fields(found[0][2])
    header = json.loads(inflate(*reversed((fields.uint(), fields.rest()))))
    assert header["source_name"] == "série.csv"
    assert header["codec"]["fingerprint"] == "ab" * 32
    remaining, first, info = iter(expected["segments"]), b"", {}
    for kind, _, payload in found:
        if kind == 2:
            info, text = signal(payload, first)
            first = first or text
        if kind == 3:
            check_segment(
                info, segment(payload, header["codebook_sizes"], expected["priors"], info), next(remaining)
            )
    assert next(remaining, None) is None


def check_segment(info: dict, found: dict, wanted: dict) -> None:
    assert (info["id"], info["shape"], info.get("meta", {})) == (
        wanted["id"],
        wanted["shape"],
        wanted["meta"],
    )
    assert (found["start"], found["length"]) == (wanted["start"], wanted["length"])
    assert found["tokens"] == [(grid["shape"], grid["values"]) for grid in wanted["tokens"]]
    for name in ("shift", "scale"):
        assert list(found.get(name, [])) == [value for row in wanted[name] or [] for value in row]
    assert found.get("mask", []) == [value for row in wanted["mask"] or [] for value in row]
    assert {name: data.hex() for name, data in found["attachments"].items()} == wanted["attachments"]


def test_golden_index_and_totals_by_the_specification():
    found = sections((GOLDEN / "v1.acz").read_bytes())
    (_, index_offset, index), (_, _, end) = found[-2:]
    fields = Fields(index)
    previous, count = fields.uint(), fields.uint()
    rows = Fields(inflate(*reversed((fields.uint(), fields.rest()))))
    offset = number = 0
    entries = []
    for _ in range(count):
        kind = rows.byte()
        offset, number = offset + rows.uint(), number + rows.uint()
        entries.append((kind, offset, number, rows.uint(), rows.uint()))
    assert previous == 0
    assert [entry[:2] for entry in entries] == [part[:2] for part in found[1:-2]]
    assert [entry[2:] for entry in entries if entry[0] == 3] == [
        (0, 0, 600),
        (0, 600, 40),
        (1, 0, 0),
        (2, 0, 10),
    ]
    fields = Fields(end)
    totals = [fields.uint() for _ in range(15)]
    assert fields.at == len(end)
    assert totals[:9] == [index_offset, 3, 4, 32, 32 * 45, 650, 650, 0, 2600]
    assert totals[9] == len(found[0][2])
    assert totals[10] == sum(len(payload) for kind, _, payload in found if kind == 2)


def test_golden_file_decodes_for_ever():
    """Written by anycodec 0.1.0. If this fails, mend the reader, not the file."""
    expected = json.loads((GOLDEN / "v1.json").read_text())
    coder = AdaptiveCoder([np.array(prior) for prior in expected["priors"]])
    with AczReader(GOLDEN / "v1.acz") as reader:
        assert reader.header.file.meta == {"separator": ";", "columns": ["t", "x"]}
        for (info, found), wanted in zip(reader.segments(coder), expected["segments"], strict=True):
            assert (info.id, info.shape, info.meta) == (wanted["id"], tuple(wanted["shape"]), wanted["meta"])
            assert (info.rate, info.unit, info.dtype) == (0.1, "°C", "float32")
            assert (found.start, found.length) == (wanted["start"], wanted["length"])
            for grid, level in zip(found.tokens.grids, wanted["tokens"], strict=True):
                np.testing.assert_array_equal(grid, np.array(level["values"], int).reshape(level["shape"]))
            for name in ("shift", "scale"):
                numbers = None if found.affine is None else getattr(found.affine, name).tolist()
                assert numbers == wanted[name]
            assert (None if found.mask is None else found.mask.astype(int).tolist()) == wanted["mask"]
            assert {name: data.hex() for name, data in found.attachments.items()} == wanted["attachments"]


def test_golden_tokens_are_coded_to_the_same_bytes():
    expected = json.loads((GOLDEN / "v1.json").read_text())
    coder = AdaptiveCoder([np.array(prior) for prior in expected["priors"]])
    modes = set()
    with AczReader(GOLDEN / "v1.acz") as reader:
        for (_, found), wanted in zip(reader.records(), expected["segments"], strict=True):
            for level, (stream, grid) in enumerate(zip(found.streams, wanted["tokens"], strict=True)):
                assert coder.encode(np.array(grid["values"], np.int64), level) == stream
                modes.add(stream[0])
    assert 0 in modes
    assert len(modes) > 1, "both the packed and an adaptive mode"


@pytest.mark.parametrize(("size", "n"), [(2, 3000), (300, 9000), (20_000, 2000)])
@pytest.mark.parametrize("seed", [0, 1])
def test_token_streams_by_the_specification(size, n, seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(size, 0.05)) * 0.999 + 0.001 / size
    prior = rng.multinomial(10**7, p) if seed else rng.integers(0, 2**40, size)
    symbols = rng.choice(size, n, p=p)
    stream = AdaptiveCoder([prior]).encode(symbols, 0)
    assert stream[0] > 0
    assert decode_tokens(stream, n, size, prior.tolist()) == symbols.tolist()


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("largest", [50, 2**40])
def test_streams_in_context_by_the_specification(across, largest):
    rng = np.random.default_rng(0)
    size, n = 40, 3000
    groups = rng.permutation(np.arange(size) % 7)
    tokens = np.abs(np.cumsum(rng.integers(-2, 3, n)) % (2 * size) - size) % size
    above = (tokens + rng.integers(0, 2, n)) % size
    pairs = np.zeros((7, 7), np.int64)
    first, second = (above, tokens) if across else (tokens[:-1], tokens[1:])
    np.add.at(pairs, (groups[first], groups[second]), 1)
    pairs *= largest // pairs.max()
    prior = rng.integers(0, largest, size)
    context = TokenContext(groups=groups, pairs=pairs, coarser=groups if across else None)
    stream = ContextCoder(context, bounded(prior)).encode(tokens, above)
    contexts = groups[above].tolist() if across else None
    decoded = decode_in_context(
        b"\x40" + stream, n, prior.tolist(), groups.tolist(), pairs.tolist(), coarser=contexts
    )
    assert decoded == tokens.tolist()


def test_sections_of_a_file_with_everything(tmp_path):
    found = sections(acz.write_small(tmp_path / "a.acz", sizes=(64, 8)).read_bytes())
    assert [kind for kind, _, _ in found] == [7, 2, 3, 3, 2, 3, 3, 4, 5]


# --- whole files, by a reader that knows nothing of ours ----------------------------------------


def test_the_independent_reader_is_independent():
    """Nothing of anycodec comes with it."""
    code = (
        "import sys, independent_reader; print([name for name in sys.modules if name.startswith('anycodec')])"
    )
    folder = Path(independent_reader.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["table", "image", "pod5"])
def test_tokens_of_version_1_files(kind):
    """Files that anycodec 0.1.0 wrote, with the token counts of their runs."""
    folder = Path(__file__).parents[1] / "golden" / "acz_v1" / kind
    (path,) = folder.glob("*.acz")
    statistics = load_file(folder / "run" / "statistics.safetensors")
    counts = [statistics["token_counts.0"].tolist()]
    tables = statistics["token_groups.0"].tolist(), statistics["token_pairs.0"].tolist()
    theirs = independent_reader.read(path, counts, tables)
    with AczReader(path) as reader:
        ours = list(reader.segments(token_coder(statistics, 1)))
    assert len(theirs.segments) == len(ours) > 0
    for (info, found), (our_info, our_segment) in zip(theirs.segments, ours, strict=True):
        assert (info["id"], found["start"], found["length"]) == (
            our_info.id, our_segment.start, our_segment.length,
        )  # fmt: skip
        assert found["tokens"][0][1] == our_segment.tokens.grids[0].ravel().tolist()


@pytest.mark.parametrize("kind", ["whole", "decimal", "float", "raw"])
def test_values_of_version_2_files(tmp_path, kind):
    """Without loss, by the line's prediction or as they are, in several segments and signals."""
    rng = np.random.default_rng(0)
    walk = rng.integers(-3, 4, (230, 2)).cumsum(axis=0)
    values, most = {
        "whole": (walk.astype(np.int16), 0.0),
        "decimal": (walk / 100, 0.0),
        "float": ((walk + rng.normal(size=walk.shape)).astype(np.float32), 0.01),
        "raw": (rng.normal(size=walk.shape) * 10.0 ** rng.integers(-200, 200, walk.shape), 0.0),
    }[kind]
    path = tmp_path / "a.acz"
    with AczWriter(path, acz.make_header(bound=Bound(max_error=most)), acz.make_coder()) as writer:
        for number in range(2):
            info = acz.make_info(number, shape=(230, 2), dtype=values.dtype.name)
            for start in (0, 120):
                stretch = values[start : start + 120]
                writer.add(info, segment_of(stretch, start, most, raw=kind == "raw"))
    found = independent_reader.read(path)
    assert found.header["bound"] == {"max_error": most, "unit": "native"}
    assert [(info["id"], one["start"]) for info, one in found.segments] == [
        (acz.make_info(number).id, start) for number in range(2) for start in (0, 120)
    ]
    restored = np.concatenate([one["values"] for _, one in found.segments[:2]])
    if most == 0:
        np.testing.assert_array_equal(restored, values)
    else:
        assert np.abs(restored.astype(float) - values).max() <= most


def segment_of(values: np.ndarray, start: int, most: float, *, raw: bool) -> SegmentData:
    if raw:
        data = restoration.pack_raw(values)
    else:
        grid = Grid.fit(values, [most] * 2, 1.0)
        data = restoration.pack_plain(grid.numbers(values), grid, "TC")
    none = Tokens((np.zeros(0, np.int64),), (64,))
    return SegmentData(start=start, length=len(values), tokens=none, restoration=data)
