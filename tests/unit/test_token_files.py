"""`.bin` and `.idx`: layouts by hand, round trips, damaged files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycodec.data.token_layout import TokenLayout
from anycodec.data.tokens import TokenDataset, TokenFileWriter, index_path
from anycodec.errors import FormatError, UserError
from anycodec.types import Tokens


def layout(sizes=(4, 8), grids=((2,), (4,)), **options) -> TokenLayout:
    return TokenLayout(codebook_sizes=sizes, grids=grids, codec={"fingerprint": "f"}, **options)


def draw(found: TokenLayout, windows: int, seed: int = 0) -> Tokens:
    rng = np.random.default_rng(seed)
    pairs = zip(found.codebook_sizes, found.grids, strict=True)
    return Tokens(
        tuple(rng.integers(0, size, (windows, *grid)) for size, grid in pairs), found.codebook_sizes
    )


def write(path: Path, found: TokenLayout, documents: list[Tokens]) -> Path:
    with TokenFileWriter(path, found) as writer:
        for tokens in documents:
            writer.add(tokens)
            writer.end_document()
    return path


def test_orders_of_a_hierarchy_by_hand() -> None:
    tokens = Tokens((np.array([[0, 1]]), np.array([[2, 3, 4, 5]])), (4, 8))
    # level 1 begins at 4; each coarse token has two fine ones below it
    assert layout().flatten(tokens).tolist() == [0, 4 + 2, 4 + 3, 1, 4 + 4, 4 + 5]
    assert layout(order="levels").flatten(tokens).tolist() == [0, 1, 6, 7, 8, 9]


def test_cells_of_pictures_by_hand() -> None:
    found = layout(sizes=(4, 16), grids=((1, 2), (2, 4)))
    tokens = Tokens((np.array([[[0, 1]]]), np.arange(8).reshape(1, 2, 4)), (4, 16))
    expected = [0, 4 + 0, 4 + 1, 4 + 4, 4 + 5, 1, 4 + 2, 4 + 3, 4 + 6, 4 + 7]
    assert found.flatten(tokens).tolist() == expected


def test_vocabulary_and_type() -> None:
    found = layout(sizes=(2**16 - 8, 8))
    assert (found.vocabulary, found.dtype, found.eos_token) == (2**16, np.dtype("<u2"), None)
    found = layout(sizes=(2**16 - 8, 8), eos=True)
    assert (found.vocabulary, found.dtype, found.eos_token) == (2**16 + 1, np.dtype("<u4"), 2**16)


def test_grids_that_do_not_nest_are_refused() -> None:
    with pytest.raises(UserError, match="can't be interleaved"):
        layout(grids=((2,), (3,)))
    assert layout(grids=((2,), (3,)), order="levels").tokens_a_window == 5


@given(
    coarse=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    factors=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    windows=st.integers(0, 4),
    order=st.sampled_from(["interleaved", "levels"]),
)
def test_restore_is_the_inverse(coarse, factors, windows, order) -> None:
    grids = tuple(tuple(extent * factor for extent in coarse) for factor in [1, *factors])
    grids = grids[::-1] if windows % 2 else grids
    found = layout(sizes=tuple(range(5, 5 + len(grids))), grids=grids, order=order)
    tokens = draw(found, windows)
    flat = found.flatten(tokens)
    assert len(flat) == windows * found.tokens_a_window
    for one, two in zip(found.restore(flat).grids, tokens.grids, strict=True):
        np.testing.assert_array_equal(one, two)


def test_restore_refuses_what_no_codec_wrote() -> None:
    with pytest.raises(FormatError, match="no whole number of windows"):
        layout().restore(np.zeros(5, np.uint16))
    with pytest.raises(FormatError, match="level 1 is not one of its 8 codes"):
        layout().restore(np.zeros(6, np.uint16))


@pytest.mark.parametrize("eos", [False, True])
def test_documents_come_back(tmp_path: Path, eos: bool) -> None:
    found = layout(eos=eos)
    documents = [draw(found, windows, seed=windows) for windows in (3, 1, 2)]
    read = TokenDataset(write(tmp_path / "x.bin", found, documents))
    assert read.layout == found
    assert [len(document) for document in read] == [18 + eos, 6 + eos, 12 + eos]
    assert np.fromfile(tmp_path / "x.bin", "<u2").tolist() == np.concatenate(list(read)).tolist()
    for number, tokens in enumerate(documents):
        for one, two in zip(read.document(number).grids, tokens.grids, strict=True):
            np.testing.assert_array_equal(one, two)
        assert read[number][-1] == 12 if eos else read[number].max() < 12
    assert read[-1].tolist() == read[2].tolist()
    with pytest.raises(IndexError):
        read[3]


def test_nothing_is_left_of_a_failed_file(tmp_path: Path) -> None:
    def fail() -> None:
        with TokenFileWriter(tmp_path / "x.bin", layout()) as writer:
            writer.add(draw(layout(), 2))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(tmp_path.iterdir())


def test_torch_blocks_overlap_by_one(tmp_path: Path) -> None:
    import pickle

    from anycodec.torch.tokens import TokenBlocks

    path = write(tmp_path / "x.bin", layout(eos=True), [draw(layout(), 2), draw(layout(), 1)])
    blocks = pickle.loads(pickle.dumps(TokenBlocks(path, 4)))
    stream = np.fromfile(path, "<u2")  # 12 + 1 + 6 + 1 tokens
    assert len(blocks) == 4
    for number, block in enumerate(blocks):
        assert block.tolist() == stream[4 * number : 4 * number + 5].tolist()


# --- damage -----------------------------------------------------------------------------------------


def damaged(tmp_path: Path, change) -> Path:
    path = write(tmp_path / "x.bin", layout(), [draw(layout(), 3), draw(layout(), 2)])
    content = bytearray(index_path(path).read_bytes())
    index_path(path).write_bytes(change(content) or content)
    return path


def put(at: int, layout_: str, value: int):
    return lambda content: struct.pack_into(layout_, content, at, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:20], "not an index"),
        (put(0, "<B", 0), "not an index"),
        (put(8, "<I", 2), "version 2"),
        (put(12, "<I", 4), "its layout"),
        (put(16, "<Q", 2**60), "bytes where"),
        (put(24, "<Q", 2**60), "bytes where"),
        (put(32, "<Q", 2**62), "its layout"),
        (lambda content: content.replace(b'"grids": [[2], [4]]', b'"grids": [[2], [0]]'), "its layout"),
        (lambda content: content.replace(b'[4, 8]', b'[4, -8]'[:6]), "its layout"),
        (lambda content: content[:-8], "bytes where"),
        (lambda content: content + bytes(8), "bytes where"),
        (put(-8, "<Q", 2**40), "do not span"),
    ],
)  # fmt: skip
def test_a_damaged_index_is_refused(tmp_path: Path, change, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        TokenDataset(damaged(tmp_path, change))


def test_offsets_out_of_range_are_refused(tmp_path: Path) -> None:
    read = TokenDataset(damaged(tmp_path, put(-16, "<Q", 2**63)))
    for number in range(2):
        with pytest.raises(FormatError, match=f"document {number} runs from"):
            read[number]


def test_a_truncated_bin_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.bin", layout(), [draw(layout(), 3)])
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(FormatError, match=r"x\.bin has 34 bytes where 36"):
        TokenDataset(path)
    path.unlink()
    with pytest.raises(FormatError, match="no such file"):
        TokenDataset(path)


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        TokenDataset(tmp_path / "x.bin")
    index_path(tmp_path / "x.bin").write_bytes(b"PK\3\4" * 100)
    with pytest.raises(FormatError, match="not an index"):
        TokenDataset(tmp_path / "x.bin")
