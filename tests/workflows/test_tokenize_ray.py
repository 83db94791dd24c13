"""`anycodec tokenize --engine ray`: the bytes that local workers write, whatever dies."""

from __future__ import annotations

import operator
import os
import shutil
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from anycodec.cli import app
from anycodec.errors import ResourceError, UserError
from anycodec.workflows import tokenize
from anycodec.workflows.shards.executor import Event, Job
from anycodec.workflows.shards.on_ray import RayExecutor
from anycodec.workflows.shards.plan import Task
from workflows.token_runs import SHARD, DeadlyJob, Inline, contents, lives, train_arrays, write_arrays

ray = pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
pytestmark = pytest.mark.timeout(900)


def anycodec(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    write_arrays(folder / "data")
    train_arrays(folder)
    tokenize.run(
        folder / "run", [folder / "data"], folder / "tokens", device="cpu", shard_size=str(SHARD),
        executor=Inline(),
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of two processors and no GPU, whose workers find the modules of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        patch.setenv("RAY_worker_niceness", "0")  # at 15, workers starve beside other tests
        try:
            ray.init(address="local", num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False)
        except Exception as error:  # Ray's own patience is 15 to 30 seconds
            pytest.skip(f"Ray does not start on this machine: {error}")
        yield
        ray.shutdown()


class Deadly(RayExecutor):
    """Workers that meet a `DeadlyJob`."""

    def __init__(self, workers: int, source: str, lives: Path) -> None:
        super().__init__(workers, None, "cpu")
        self._danger = source, "worker", lives

    def run(self, job: Job, tasks: Sequence[Task]) -> Generator[Event, None, None]:
        return super().run(DeadlyJob(job, *self._danger), tasks)


@pytest.mark.usefixtures("cluster")
def test_ray_writes_what_one_process_writes(folder: Path, tmp_path: Path) -> None:
    words = ("--engine", "ray", "--workers", 2, "--shard-size", SHARD, "--device", "cpu")
    done = anycodec("tokenize", folder / "run", folder / "data", "-o", tmp_path / "out", *words)
    assert done.exit_code == 0, done.output
    assert "10 files, 10 signals" in done.stdout
    assert contents(tmp_path / "out") == contents(folder / "tokens")


@pytest.mark.usefixtures("cluster")
def test_a_killed_worker_costs_its_shard_only(folder: Path, tmp_path: Path, capsys) -> None:
    executor = Deadly(1, "part0/8.npy", lives(tmp_path / "lives", 1))
    out = tmp_path / "out"
    code = tokenize.run(folder / "run", [folder / "data"], out, shard_size=str(SHARD), executor=executor)
    assert code == 0
    said = capsys.readouterr().out
    assert said.count("a worker died") == 1
    assert "(its process died, over part0/8.npy)" in said
    assert contents(out) == contents(folder / "tokens")


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_can_not_begin_ends_the_job(folder: Path, tmp_path: Path) -> None:
    class Unable(RayExecutor):
        def run(self, job: Job, tasks: Sequence[Task]) -> Generator[Event, None, None]:
            (tmp_path / "run" / "weights.safetensors").write_bytes(b"damaged")
            return super().run(job, tasks)

    shutil.copytree(folder / "run", tmp_path / "run")
    with pytest.raises(UserError, match=r"weights\.safetensors"):
        tokenize.run(tmp_path / "run", [folder / "data"], tmp_path / "out", executor=Unable(1, None, "cpu"))


@dataclass(frozen=True)
class Unknown:
    """A job that a node does not know, as where anycodec is not installed."""

    job: Job

    def __reduce__(self) -> tuple[object, ...]:
        return operator.truediv, (1, 0)

    def clear(self, shard: int) -> None:
        self.job.clear(shard)


@pytest.mark.usefixtures("cluster")
def test_a_node_on_which_workers_can_not_begin(folder: Path, tmp_path: Path) -> None:
    class Elsewhere(RayExecutor):
        def run(self, job: Job, tasks: Sequence[Task]) -> Generator[Event, None, None]:
            return super().run(Unknown(job), tasks)

    with pytest.raises(ResourceError, match=r"could not begin: .*ZeroDivisionError"):
        tokenize.run(folder / "run", [folder / "data"], tmp_path, executor=Elsewhere(1, None, "cpu"))


@pytest.mark.usefixtures("cluster")
def test_gpus_that_the_cluster_lacks(folder: Path, tmp_path: Path) -> None:
    words = ("--engine", "ray", "--device", "cuda")
    done = anycodec("tokenize", folder / "run", folder / "data", "-o", tmp_path / "out", *words)
    assert done.exit_code == 2
    assert "the Ray cluster has no GPU" in done.stderr


def test_an_address_is_rays(folder: Path, tmp_path: Path) -> None:
    done = anycodec("tokenize", folder / "run", folder / "data", "-o", tmp_path / "out", "--address", "auto")
    assert (done.exit_code, "add --engine ray" in done.stderr) == (2, True)


def test_without_ray(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = anycodec("tokenize", folder / "run", folder / "data", "-o", tmp_path / "out", "--engine", "ray")
    assert done.exit_code == 2
    assert "pip install 'anycodec[ray]'" in done.stderr
    assert not (tmp_path / "out").exists()
