"""A codec that is loaded when it is first used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anycodec.errors import RunError
from anycodec.types import Tokens
from anycodec.workflows.deferred import DeferredCodec

GOLDEN = Path(__file__).parents[1] / "golden" / "acz_v1" / "pod5"


class Halves:
    """A codec of one value a token, which counts how often it was loaded."""

    codebook_sizes = (8,)
    loaded = 0

    def __init__(self):
        Halves.loaded += 1

    def encode(self, windows):
        return Tokens((windows[:, 0].astype(np.int64) // 2,), self.codebook_sizes)

    def decode(self, tokens):
        return 2.0 * tokens.grids[0][:, None].astype(np.float32)

    def reconstruct(self, windows):
        return self.decode(self.encode(windows))

    def latents(self, windows, labels=None):
        return windows / 2 if labels is None else windows * labels[:, None, None]

    def decode_latents(self, values, labels=None):
        return values * 2 if labels is None else values - labels[:, None, None]

    def stream(self, side_by_side):
        return self if side_by_side == 1 else ("a stream of", side_by_side)


@pytest.fixture
def codec():
    Halves.loaded = 0
    return DeferredCodec((8,), Halves)


def test_codebooks_are_known_without_loading(codec):
    assert codec.codebook_sizes == (8,)
    assert Halves.loaded == 0


def test_it_does_what_the_codec_does_and_loads_it_once(codec):
    windows, labels = np.arange(8, dtype=np.float32).reshape(2, 1, 4), np.array([3, 5])
    (grid,) = codec.encode(windows).grids
    assert grid.tolist() == [[0, 0, 1, 1], [2, 2, 3, 3]]
    assert codec.decode(Tokens((grid,), (8,)))[1, 0].tolist() == [4, 4, 6, 6]
    assert codec.reconstruct(windows)[0, 0].tolist() == [0, 0, 2, 2]
    assert codec.latents(windows)[0, 0].tolist() == [0, 0.5, 1, 1.5]
    assert codec.latents(windows, labels)[1, 0].tolist() == [20, 25, 30, 35]
    assert codec.decode_latents(windows)[0, 0].tolist() == [0, 2, 4, 6]
    assert codec.decode_latents(windows, labels)[0, 0].tolist() == [-3, -2, -1, 0]
    assert Halves.loaded == 1


def test_a_codec_that_is_its_own_stream_stays_so(codec):
    assert codec.stream(1) is codec
    assert codec.stream(2) == ("a stream of", 2)


def test_what_loading_raises_the_first_use_raises():
    def load():
        raise RunError("damaged weights", where="runs/x")

    codec = DeferredCodec((8,), load)
    with pytest.raises(RunError, match="damaged weights"):
        codec.encode(np.zeros((1, 1, 4), np.float32))


@pytest.mark.parametrize(("bound", "loaded"), [("--lossless", "False"), (None, "True")])
def test_files_without_loss_need_no_framework(tmp_path, bound, loaded):
    pytest.importorskip("pod5")
    code = (
        "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules))\n"
        "from anycodec.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "compress", GOLDEN / "run", GOLDEN / "pod5.pod5", "-o", tmp_path]
    done = subprocess.run([*command, *([bound] if bound else [])], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == loaded
