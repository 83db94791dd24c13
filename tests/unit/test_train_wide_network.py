"""The script that trains the network of the format: it runs, and what it writes is such a network."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anycodec.bitstream.fields import FieldReader
from anycodec.bitstream.wide import WideNetwork, builtin

pytest.importorskip("pod5")
SCRIPT = Path(__file__).parents[2] / "scripts" / "train_wide_network.py"


def test_quick_training_writes_a_network_of_the_shipped_shape(tmp_path):
    out = tmp_path / "network.bin"
    command = [sys.executable, str(SCRIPT), "--quick", "--out", str(out)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert "held out: built-in" in finished.stdout
    found = WideNetwork.unpack(FieldReader(out.read_bytes()))
    shapes = [weights.shape for weights, _ in builtin(0).layers]
    assert [weights.shape for weights, _ in found.layers] == shapes
    assert all(np.abs(weights).max() > 0 for weights, _ in found.layers)
