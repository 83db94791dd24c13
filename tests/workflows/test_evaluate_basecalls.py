"""`anycodec evaluate-basecalls` with a basecaller of the test's own: a real process."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from anycodec.cli import app
from anycodec.io.pod5_adc import adc_reads
from anycodec.workflows.samples import run as write_samples
from anycodec.workflows.train import run as train

for part in ("pod5", "fast_ctc_decode", "mappy", "edlib"):
    pytest.importorskip(part)

CONFIG = """
data: {{type: pod5, root: {root}, workers: 0, window: {{samples: 240}}}}
codec: {{type: totem, hidden_channels: 4, res_channels: 2, quantizer: {{type: ema, codebook_size: 16}}}}
train: {{steps: 2, val_every: 2, batch_size: 2}}
"""
CALLER = """
import sys, numpy as np, pod5
with pod5.Reader(sys.argv[1]) as reader:
    for read in reader.reads():
        print("called", read.read_id, file=sys.stderr)
        levels = read.signal[: read.num_samples // 16 * 16].reshape(-1, 16).sum(axis=1)
        print(f">{read.read_id} fake\\n" + "".join("ACGT"[v % 4] for v in levels))
"""
FAILING = """
import sys
for i in range(20):
    print("line", i, file=sys.stderr)
sys.exit(7)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> SimpleNamespace:
    """A run, a file, a caller, and the reference that its lossless calls are from."""
    folder = tmp_path_factory.mktemp("basecalls")
    write_samples(kind="nanopore", out=folder / "data", seed=0, size="small")
    pod5 = sorted((folder / "data").rglob("*.pod5"))[0]
    (folder / "config.yaml").write_text(CONFIG.format(root=folder / "data"))
    train(folder / "config.yaml", [], folder / "run", resume=False, quiet=True)
    script, fasta = folder / "caller.py", folder / "reference.fna"
    script.write_text(CALLER)
    reads = list(adc_reads(pod5))
    fasta.write_text("".join(f">{read.id}\n{called(read.adc)}\n" for read in reads))
    command = shlex.join([sys.executable, str(script)]) + " {pod5}"
    return SimpleNamespace(
        folder=folder, run=folder / "run", pod5=pod5, command=command, fasta=fasta, reads=reads
    )


def called(adc: np.ndarray) -> str:
    levels = adc[: len(adc) // 16 * 16].reshape(-1, 16).sum(axis=1)
    return "".join("ACGT"[level % 4] for level in levels)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANYCODEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def evaluate(world: SimpleNamespace, *words: object) -> Any:
    arguments = ["evaluate-basecalls", world.run, world.pod5, *words]
    return CliRunner().invoke(app, [str(word) for word in arguments])


def results(world: SimpleNamespace) -> tuple[dict[str, Any], list[dict[str, str]]]:
    folder = world.run / "basecalls"
    assert (folder / "basecalls.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((folder / "reads.csv").read_text().splitlines()))
    return json.loads((folder / "basecalls.json").read_text()), rows


def test_all_variants_with_a_reference(world):
    shortest = min(len(read.adc) for read in world.reads)
    done = evaluate(
        world, "--command", world.command, "--reference", world.fasta, "--truncation", "0,4",
        "--max-error", "8", "--min-samples", shortest + 1,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found, rows = results(world)
    called_reads = sum(len(read.adc) > shortest for read in world.reads)
    assert f"{len(world.reads) - called_reads} reads are shorter than {shortest + 1} samples" in done.output
    lossless, truncated, codec, bounded = found["variants"]
    assert [item["kind"] for item in found["variants"]] == ["lossless", "truncated", "codec", "bound"]
    assert bounded["variant"] == "within 8"
    assert bounded["rmse_adc"] == pytest.approx(np.sqrt((17**2 - 1) / 12), rel=0.05)  # -8 to 8, equally often
    assert lossless["identity_median"] == lossless["agreement_mean"] == 1.0
    assert (lossless["unaligned"], lossless["rmse_adc"]) == (0, 0.0)
    assert codec["agreement_mean"] < 0.8
    for item in found["variants"]:
        assert item["called"] == called_reads
        assert item["reads_in"] == item["reads_out"] == len(world.reads)
    assert len(rows) == 4 * called_reads
    assert truncated["rmse_adc"] == pytest.approx(np.sqrt(21.5), rel=0.05)  # k - 8 for k of 0 to 15
    assert lossless["bits_per_sample"] > truncated["bits_per_sample"] + 2 > codec["bits_per_sample"]
    # 4 bits every 4 samples at most, and a small file's header and metadata
    assert (
        0 < codec["side_bits_per_sample"] < codec["bits_per_sample"] < 1 + codec["side_bits_per_sample"] + 0.1
    )


def test_without_a_reference_there_is_agreement_alone(world, tmp_path):
    copy = shutil.copytree(world.run, tmp_path / "another" / world.run.name)
    again = ("--also", world.run, "--also", copy)
    done = evaluate(world, "--command", world.command, "--truncation", "", *again)
    assert done.exit_code == 0, done.output
    found, rows = results(world)
    assert found["reference"] is None
    assert [item["identity_median"] for item in found["variants"]] == [None, None, None]
    assert [item["variant"] for item in found["variants"]] == ["lossless", str(world.run), str(copy)]
    assert all(row["agreement"] for row in rows)


def test_calls_are_made_once(world, cache, tmp_path):
    counter = tmp_path / "count.py"
    counter.write_text(CALLER + f"\nopen({str(tmp_path / 'log')!r}, 'a').write('x')\n")
    command = shlex.join([sys.executable, str(counter)]) + " {pod5}"
    for _ in range(2):
        assert evaluate(world, "--command", command, "--truncation", "").exit_code == 0
        assert (tmp_path / "log").read_text() == "xx"
    assert len(list((cache / "basecalls").iterdir())) == 2


def test_a_failing_caller_shows_its_last_lines(world, tmp_path, cache):
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    done = evaluate(world, "--command", shlex.join([sys.executable, str(script)]) + " {pod5}")
    assert done.exit_code == 2
    assert "exit code 7" in done.stderr
    assert "line 19" in done.stderr
    assert "line 11\n" not in done.stderr
    assert "line 12\n" in done.stderr
    assert list((cache / "basecalls").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--command", "dorado basecaller"], "{pod5} is missing"),
        (["--command", "'unbalanced {pod5}"], "not a command"),
        (["--command", "/nowhere/caller {pod5}"], "can't be run: No such file"),
        (["--command", "echo no sequences {pod5}"], "neither FASTQ, FASTA nor SAM"),
        (["--reference", "nowhere.fna"], "the reference does not exist"),
        (["--truncation", "3,x"], "is no list of bits to drop"),
        (["--truncation", "13"], "is no list of bits to drop"),
        (["--max-error", "4,x"], "is no list of largest errors"),
        ([], "the weights bonito-r941 are not on this machine"),
    ],
)
def test_what_can_not_work_is_refused(world, words, message):
    done = evaluate(world, *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_caller_that_leaves_out_reads_is_told_of(world, tmp_path):
    script = tmp_path / "one.py"
    script.write_text(CALLER + "        break\n")
    command = shlex.join([sys.executable, str(script)]) + " {pod5}"
    done = evaluate(world, "--command", command, "--reference", world.fasta, "--truncation", "")
    assert done.exit_code == 0, done.output
    missing = len(world.reads) - 1
    assert f"lossless: {missing} of {len(world.reads)} reads got no base" in done.output
    assert results(world)[0]["variants"][0]["unaligned"] == missing


def test_a_file_that_is_none_is_left_out(world, tmp_path):
    broken = tmp_path / "broken.pod5"
    broken.write_bytes(b"no pod5")
    done = evaluate(world, broken, "--command", world.command, "--truncation", "")
    assert done.exit_code == 2
    assert f"left out: {broken}" in done.output
    assert results(world)[0]["variants"][0]["reads_in"] == len(world.reads)


def test_reads_of_another_pore_are_warned_of(world, monkeypatch):
    from anycodec.workflows import basecalls

    monkeypatch.setattr(basecalls, "run_infos", lambda path: [{"flow_cell_product_code": "FLO-PRO114M"}])
    with pytest.warns(UserWarning, match=r"is of the pore R10\.4\.1, and bonito-r941 reads R9\.4\.1"):
        basecalls._check_pores([world.pod5], "bonito-r941")


def test_runs_of_other_data_are_refused(world, tmp_path):
    rows = "\n".join(f"{i},{i % 7}" for i in range(600))
    (tmp_path / "series.csv").write_text(f"a,b\n{rows}\n")
    config = CONFIG.format(root=tmp_path).replace("pod5", "table").replace("240", "32")
    (tmp_path / "config.yaml").write_text(config)
    train(tmp_path / "config.yaml", [], tmp_path / "run", resume=False, quiet=True)
    other = SimpleNamespace(run=tmp_path / "run", pod5=world.pod5)
    done = evaluate(other, "--command", world.command)
    assert done.exit_code == 2
    assert "this run codes table data" in done.stderr
