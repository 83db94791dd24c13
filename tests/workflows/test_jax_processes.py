"""Two processes that train one codec in JAX, as two hosts would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anycodec.checkpoint import read_arrays

pytest.importorskip("jax")

TRAINING = """
import sys
from pathlib import Path
import numpy as np
from anycodec.checkpoint import RunDirectory
from anycodec.config.run import RunSpec
from anycodec.engine import TrainingJob
from anycodec.jax.engine import create

class Noise:
    def __len__(self): return 20
    def epoch_order(self, epoch): return np.random.default_rng(epoch).permutation(20)
    def item(self, *key): return np.random.default_rng(key).normal(size=(1, 1, 48)).astype(np.float32)
    def close(self): pass

spec = RunSpec.model_validate({
    "data": {"type": "pod5", "window": {"samples": 48}, "workers": 0},
    "codec": {"type": "simvqgan", "base_channels": 8, "channels": [8], "strides": [4], "res_blocks": 1,
              "mid_blocks": 0, "latent_channels": 8, "quantizer": {"type": "ema", "codebook_size": 8,
              "kmeans_init": False, "restart_after": 2}},
    "train": {"steps": 4, "batch_size": 4, "ema": 0.9, "val_every": 2, "val_batches": 1,
              "checkpoint_every": 2, "log_every": 1, "device": "cpu"},
})
run = RunDirectory(Path(sys.argv[1]))
run.path.mkdir(exist_ok=True)
engine = create()
if not engine.follow(spec.train):
    engine.train(TrainingJob(spec=spec, in_channels=1, run=run, train=Noise(), val=Noise(), quiet=True))
"""


def start(run: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", TRAINING, str(run)]
    return subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True)


def test_two_processes_train_what_one_would(tmp_path: Path) -> None:
    """The second one does the first one's job: its share of every batch. The first alone writes the run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    cache = str(tmp_path / "xla")
    two = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "XLA_CACHE_DIR": cache}
    processes = [start(tmp_path / "two", JAX_PROCESS_ID=str(number), **two) for number in range(2)]
    processes.append(start(tmp_path / "one", XLA_CACHE_DIR=cache))
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors[-2000:]
    one, both = (read_arrays(tmp_path / name / "resume" / "state.safetensors") for name in ("one", "two"))
    assert one.keys() == both.keys()
    for name, array in one.items():
        np.testing.assert_allclose(both[name], array, rtol=1e-4, atol=1e-5, err_msg=name)
