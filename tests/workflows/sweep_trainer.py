"""Stands for `anycodec train` where sweeps are tested: its files, exit codes and signals, without torch.

`python sweep_trainer.py train CONFIG --out RUN [--resume] [KEY=VALUE]`. What becomes of the attempts of a run
is written in a file of its name in the folder SWEEP_FATES, a word an attempt, the last one for all further
ones: `done`, `crash`, `die` (SIGKILL halfway), `hang` (halfway, until asked to stop), `stuck` (for ever).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import yaml

from anycodec.training.csvlog import CsvLog
from anycodec.workflows.sweeps import child

STOPPED = threading.Event()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: STOPPED.set())
    threading.Thread(target=child._end_with_the_sweep, daemon=True).start()
    config, run = Path(sys.argv[2]), Path(sys.argv[4])
    resumed = (run / "config.yaml").exists()
    assert ("--resume" in sys.argv) == resumed
    run.mkdir(exist_ok=True)
    (run / "config.yaml").write_text(config.read_text())
    fate = _fate(run)
    if fate == "crash":
        sys.exit("error: it does not work\n  where: here")
    settings = yaml.safe_load(config.read_text())
    _train(run, settings["train"]["steps"], abs(settings["codec"]["latent_channels"] - 8), fate)
    (run / "manifest.json").write_text(json.dumps({"training": {}}))


def _fate(run: Path) -> str:
    path = Path(os.environ["SWEEP_FATES"]) / run.name
    words = path.read_text().split() if path.exists() else ["done"]
    path.write_text(" ".join(words[1:] or words))
    return words[0]


def _train(run: Path, steps: int, loss: float, fate: str) -> None:
    checkpoint = run / "checkpoint"
    begin = int(checkpoint.read_text()) if checkpoint.exists() else 0
    log = CsvLog(run / "metrics.csv", begin)
    for step in range(begin + 1, steps + 1):
        log.write(step, {"val/snr": 10 - loss - abs(step - 0.8 * steps)})
        checkpoint.write_text(str(step))
        if step == steps // 2:
            _meet(fate)
        if STOPPED.is_set():
            sys.exit(143)


def _meet(fate: str) -> None:
    while fate == "stuck" or (fate == "hang" and not STOPPED.is_set()):
        time.sleep(0.01)
    if fate == "die":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
