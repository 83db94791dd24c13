"""`anycodec tokenize`: the same bytes whatever happens."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from anycodec.bitstream import shard_writer
from anycodec.cli import app
from anycodec.errors import DataError, FormatError, ResourceError, UserError
from anycodec.workflows import tokenize, tokens
from anycodec.workflows.shards import worker
from anycodec.workflows.shards.executor import Deaths
from anycodec.workflows.shards.local import LocalExecutor
from anycodec.workflows.shards.plan import SourceFile, Task, parse_size, plan_tasks
from workflows.token_runs import SHARD, Deadly, Inline, contents, lives, train_arrays, write_arrays


def anycodec(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def shown(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    write_arrays(folder / "data")
    train_arrays(folder)
    # undisturbed, in one process
    code = tokenize.run(
        folder / "run", [folder / "data"], folder / "tokens", device="cpu", shard_size=str(SHARD),
        executor=Inline(),
    )  # fmt: skip
    assert code == 0
    return folder


def again(folder: Path, out: Path, **options: object) -> int:
    return tokenize.run(
        folder / "run", [folder / "data"], out, device="cpu", shard_size=str(SHARD), **options
    )


def test_two_workers_write_what_one_process_writes(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = anycodec(
        "tokenize", folder / "run", folder / "data", "-o", out, "--workers", 2, "--shard-size", SHARD,
        "--device", "cpu",
    )  # fmt: skip
    assert done.exit_code == 0, shown(done)
    assert "10 files, 10 signals" in shown(done)
    assert contents(out) == contents(folder / "tokens")
    assert sorted(contents(out)) == ["_manifest.jsonl", *(f"shard-{n:06d}.parquet" for n in range(4))]


def test_rows_say_what_they_are(folder: Path) -> None:
    table = pq.read_table(folder / "tokens")
    header = json.loads(table.schema.metadata[b"anycodec"])
    assert (header["codebook_sizes"], header["grids"], header["strides"]) == ([16], [[8]], [[4]])
    assert header["config"]["codec"]["quantizer"]["codebook_size"] == 16
    assert str(table.schema.field("tokens_0").type) == "list<element: uint16>"
    assert table["source"].to_pylist() == [f"part{i}/{2 * n + i}.npy" for i in range(2) for n in range(5)]
    assert len(set(table["id"].to_pylist())) == 10
    first = table.slice(0, 1).to_pylist()[0]
    assert (first["shape"], first["start"], first["length"], first["label"]) == ([300, 2], 0, 300, "part0")
    # windows of 32, 28 new samples each, for each of two channels: 2 * (1 + ceil(268 / 28)) = 22
    assert (first["windows"], len(first["tokens_0"])) == (22, 176)
    values = np.load(folder / "data" / "part0" / "0.npy")
    np.testing.assert_allclose(first["shift"], [np.median(values, axis=0)], rtol=1e-6)


def test_a_killed_worker_costs_its_shard_only(folder: Path, tmp_path: Path, capsys) -> None:
    executor = Deadly(1, "part0/8.npy", "worker", lives(tmp_path / "lives", 1))
    assert again(folder, tmp_path / "out", executor=executor) == 0
    assert "a worker died (SIGKILL, over part0/8.npy)" in capsys.readouterr().out
    assert contents(tmp_path / "out") == contents(folder / "tokens")


DRIVER = """
import sys
from pathlib import Path
from anycodec.workflows import tokenize
from workflows.token_runs import SHARD, Deadly
folder, out, lives = map(Path, sys.argv[1:])
if __name__ == "__main__":
    tokenize.run(folder / "run", [folder / "data"], out, device="cpu", shard_size=str(SHARD),
                 executor=Deadly(1, "part1/5.npy", "driver", lives))
"""


def test_a_killed_driver_continues_where_it_was(folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", DRIVER, folder, out, lives(tmp_path / "lives", 1)]
    paths = str(Path(__file__).parents[1])
    killed = subprocess.run(command, env={"PYTHONPATH": paths, "PATH": ""}, capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr.decode()
    assert [path.name for path in sorted(out.glob("*.parquet"))] == [f"shard-{n:06d}.parquet" for n in (0, 1)]
    assert "not finished: 2 of 4" in shown(anycodec("tokens", "stats", out))
    before = {path: path.stat().st_ino for path in out.glob("*.parquet")}
    # and as if it had died before it could note the second shard, in the middle of a line
    manifest = out / "_manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    assert again(folder, out, executor=Inline()) == 0
    assert "2 shards are done already, 2 are left" in capsys.readouterr().out
    assert {path: path.stat().st_ino for path in before} == before
    assert contents(out) == contents(folder / "tokens")
    assert tokens.verify(out) == 0


def test_a_finished_job_does_nothing(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "tokens", tmp_path / "out")
    before = {path: path.stat().st_ino for path in (tmp_path / "out").glob("*.parquet")}
    assert again(folder, tmp_path / "out", executor=Inline()) == 0
    assert {path: path.stat().st_ino for path in before} == before
    assert contents(tmp_path / "out") == contents(folder / "tokens")


def test_a_file_that_kills_its_workers_is_left_out(folder: Path, tmp_path: Path, capsys) -> None:
    class Barring(Inline):
        def run(self, job, tasks):
            deaths = Deaths()
            (poisoned,) = (task for task in tasks if "part0/8.npy" in {file.source for file in task.files})
            for _ in range(3):
                poisoned = deaths.of(poisoned, "part0/8.npy", "SIGSEGV")
            return super().run(job, [poisoned if task.number == poisoned.number else task for task in tasks])

    assert again(folder, tmp_path / "out", executor=Barring()) == 2
    assert "left out: part0/8.npy: 3 worker processes died over it (SIGSEGV)" in capsys.readouterr().out
    left = pq.read_table(tmp_path / "out", columns=["source"])["source"].to_pylist()
    assert len(left) == 9
    assert "part0/8.npy" not in left


def test_workers_that_die_at_once_end_the_job() -> None:
    deaths, task = Deaths(), Task(0, ())
    assert deaths.of(task, None, "SIGKILL") is task
    assert deaths.of(task, None, "SIGKILL") is task
    with pytest.raises(ResourceError, match="3 worker processes died before"):
        deaths.of(task, None, "SIGKILL")


def test_unreadable_files_are_left_out_and_listed(folder: Path, tmp_path: Path, capsys) -> None:
    data = tmp_path / "data"
    shutil.copytree(folder / "data", data)
    good = data / "part0" / "2.npy"
    (data / "part0" / "3.npy").write_bytes(good.read_bytes()[:-100])
    (data / "part0" / "empty.npy").touch()
    np.save(data / "part1" / "text.npy", np.array(["a", "b"]))
    code = tokenize.run(folder / "run", [data], tmp_path / "out", shard_size=str(SHARD), executor=Inline())
    assert code == 2
    listed = capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "out" / "_manifest.jsonl").read_text().splitlines()]
    skipped = [Path(item["path"]).name for line in lines for item in line.get("skipped", ())]
    assert skipped == ["empty.npy", "3.npy", "text.npy"]
    assert all(f"{name}: " in listed for name in skipped)
    assert lines[-1]["files"] == 10
    read = pq.read_table(tmp_path / "out").sort_by("id")
    same = pq.read_table(folder / "tokens").sort_by("id")
    assert read.drop_columns(["label", "info"]).equals(same.drop_columns(["label", "info"]))
    assert tokens.verify(tmp_path / "out") == 0


def test_a_file_that_fails_late_leaves_nothing_behind(folder: Path, tmp_path: Path, monkeypatch) -> None:
    """Some of its rows are in a row group already: the shard starts again without it."""
    monkeypatch.setattr(shard_writer, "ROWS_A_GROUP", 2)
    usual = worker.file_rows

    def damaged(pipeline, file):
        for row in usual(pipeline, file):
            yield row
            if file.source == "part0/4.npy":
                raise DataError("damaged at its end")

    monkeypatch.setattr(worker, "file_rows", damaged)
    assert again(folder, tmp_path / "late", executor=Inline()) == 2
    found = pq.read_table(tmp_path / "late", columns=["source"])["source"].to_pylist()
    assert len(found) == 9
    assert "part0/4.npy" not in found
    assert tokens.verify(tmp_path / "late") == 0


def test_a_file_that_the_system_refuses_is_left_out(
    folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    usual = worker.segments

    def refused(reader, pipeline):
        if reader.info.path.endswith("4.npy"):
            raise OSError(errno.EIO, "Input/output error")
        return usual(reader, pipeline)

    monkeypatch.setattr(worker, "segments", refused)
    assert again(folder, tmp_path / "out", executor=Inline()) == 2
    assert "left out: part0/4.npy: can't be read: Input/output error" in capsys.readouterr().out


def test_another_job_is_not_continued(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(folder / "tokens", out)
    with pytest.raises(UserError, match=r"10 files in 4 shards then, 10 in 1 now"):
        tokenize.run(folder / "run", [folder / "data"], out, executor=Inline())
    with pytest.raises(UserError, match=r"10 files in 4 shards then, 5 in 2 now"):
        tokenize.run(
            folder / "run", [folder / "data" / "part0"], out, shard_size=str(SHARD), executor=Inline()
        )
    other = train_arrays_again(folder, tmp_path)
    with pytest.raises(UserError, match="another codec began it"):
        tokenize.run(other, [folder / "data"], out, shard_size=str(SHARD), executor=Inline())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(UserError, match="not empty"):
        again(folder, tmp_path / "full", executor=Inline())
    assert contents(out) == contents(folder / "tokens")


def train_arrays_again(folder: Path, tmp_path: Path) -> Path:
    """The same run with another window."""
    shutil.copytree(folder / "run", tmp_path / "other")
    config = tmp_path / "other" / "config.yaml"
    config.write_text(config.read_text().replace("samples: 32", "samples: 64"))
    return tmp_path / "other"


def test_two_jobs_never_share_a_folder(folder: Path, tmp_path: Path) -> None:
    class Second(Inline):
        def run(self, job, tasks):
            with pytest.raises(UserError, match="another job"):
                again(folder, tmp_path / "out", executor=Inline())
            return super().run(job, tasks)

    assert again(folder, tmp_path / "out", executor=Second()) == 0


def test_two_files_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(folder / "data" / "part0", tmp_path / name)
    with pytest.raises(UserError, match="would both be called"):
        tokenize.run(folder / "run", [tmp_path / "a", tmp_path / "b"], tmp_path / "out", executor=Inline())
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_no_shard(folder: Path, small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(40_000))
    with pytest.raises(UserError, match="not empty"):
        again(folder, small_disk, executor=LocalExecutor(1))
    out = small_disk / "out"
    with pytest.raises(UserError, match="no space left on the disk"):
        again(folder, out, executor=LocalExecutor(1))
    assert not list(out.glob(".*"))
    (small_disk / "ballast").unlink()
    assert again(folder, out, executor=Inline()) == 0
    assert contents(out) == contents(folder / "tokens")


def test_shards_follow_from_sizes() -> None:
    sizes = [5, 5, 5, 30, 1, 1]
    files = [SourceFile(Path(str(n)), str(n), size) for n, size in enumerate(sizes)]
    found = [[file.size for file in task.files] for task in plan_tasks(files, 10)]
    assert found == [[5, 5], [5], [30], [1, 1]]
    assert (parse_size("64KB"), parse_size("1.5 GiB"), parse_size("7")) == (2**16, 3 * 2**29, 7)
    for text in ("", "MB", "-1", "0", "1XB"):
        with pytest.raises(UserError, match="not a size"):
            parse_size(text)


# --- looking at them --------------------------------------------------------------------------------


def test_stats_count_codes(folder: Path) -> None:
    done = anycodec("tokens", "stats", folder / "tokens")
    column = np.concatenate(pq.read_table(folder / "tokens")["tokens_0"].to_numpy(zero_copy_only=False))
    p = np.bincount(column) / len(column)
    p = p[p > 0]
    bits = -(p * np.log2(p)).sum()
    text = shown(done)
    samples = sum(2 * (300 + n) for n in range(10))
    assert done.exit_code == 0
    assert f"samples {samples:,} tokens {len(column):,}" in text
    assert f"0 16 {len(p)} {len(p) / 16:.1%} {2**bits:,.1f} {bits:.3f} {len(column):,}" in text
    assert f"{bits * len(column) / samples:.4g} bits/sample" in text


def test_head_shows_the_first_rows(folder: Path) -> None:
    text = shown(anycodec("tokens", "head", folder / "tokens", "-n", 2))
    codes = pq.read_table(folder / "tokens")["tokens_0"][0].as_py()
    assert f"part0/0.npy#0@0 [300, 2] from 0 tokens_0 [22, 8]: {' '.join(map(str, codes[:12]))} ..." in text
    assert "part0/2.npy#0@0" in text
    assert "part0/4.npy" not in text


def test_verify_finds_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(folder / "tokens", out)
    assert "10 rows: all is right" in shown(anycodec("tokens", "verify", out))
    one, two, three, _ = sorted(out.glob("*.parquet"))
    content = bytearray(one.read_bytes())
    content[len(content) // 3] ^= 1
    one.write_bytes(content)
    two.unlink()
    shutil.copy(folder / "tokens" / one.name, three)
    (out / "shard-000009.parquet").touch()
    done = anycodec("tokens", "verify", out)
    assert done.exit_code == 2
    for problem in (
        "shard-000000.parquet: ", "shard-000001.parquet: there is no such shard",
        "shard-000002.parquet: its checksum", "shard-000009.parquet: not one of this set",
    ):  # fmt: skip
        assert problem in shown(done)
    with pytest.raises(FormatError, match="not a token set"):
        tokens.verify(tmp_path)
