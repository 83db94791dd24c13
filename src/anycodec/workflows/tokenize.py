"""`anycodec tokenize`: a tree of native files -> shards of tokens (Parquet)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

from anycodec.checkpoint import RunDirectory
from anycodec.errors import UserError
from anycodec.processors import processors
from anycodec.types import Skipped
from anycodec.workflows.console import out as console
from anycodec.workflows.exclusive import exclusive
from anycodec.workflows.inputs import find_files
from anycodec.workflows.pipeline import no_tokens
from anycodec.workflows.progress import TokenizeBar
from anycodec.workflows.shards import manifest as manifests
from anycodec.workflows.shards.executor import Executor, Lost, Progress
from anycodec.workflows.shards.local import LocalExecutor
from anycodec.workflows.shards.manifest import Manifest, SetInfo, ShardRecord
from anycodec.workflows.shards.plan import (
    Task,
    fingerprint,
    list_sources,
    parse_size,
    plan_tasks,
    shard_name,
)
from anycodec.workflows.shards.worker import TokenizeJob, clear, make_header

Device = Literal["auto", "cpu", "cuda"]
SHARD_SIZE = "256MB"
_SKIPPED_SHOWN = 20


def run(
    run: Path,
    inputs: list[Path],
    out: Path,
    *,
    device: Device = "auto",
    workers: int | None = None,
    shard_size: str = SHARD_SIZE,
    executor: Executor | None = None,
) -> int:
    """Write the tokens of all files, or what a stopped job of the same files left to do.

    Args:
        run: the run directory.
        inputs: folders, files or patterns.
        out: folder of the shards.
        device: auto, cpu or cuda.
        workers: processes at a time; None = a processor each.
        shard_size: bytes of native files a shard, such as 256MB.
        executor: what runs the tasks, see `make_executor`; None = `workers` processes on this machine.

    Returns:
        0, or 2 where a file was left out.

    Raises:
        RunError: not a finished run.
        DataError: an input is missing or holds no usable file.
        UserError: the folder holds another set or another job is at it, or the codec has no tokens.
        ResourceError: the disk is full, or workers die before they do anything.
    """
    directory = RunDirectory(run)
    spec = directory.spec()
    if not spec.codec.codebook_sizes:
        raise no_tokens(spec, run)
    header = make_header(run, spec, directory.fingerprint())
    files, unfit = find_files(inputs, spec.data.model_copy(update={"exclude": ()}), fetch=False)
    tasks = plan_tasks(list_sources(files), parse_size(shard_size))
    info = SetInfo(
        fingerprint=header.fingerprint,
        run=str(header.codec["run"]),
        plan=fingerprint(tasks),
        shards=len(tasks),
        files=len(files),
        skipped=tuple(unfit),
    )
    job = TokenizeJob(run.resolve(), device, header, info.plan, out.resolve())
    executor = executor or make_executor("local", None, workers, device)
    out.mkdir(parents=True, exist_ok=True)
    with exclusive(out):
        done = _begin(out, info, tasks)
        begin = time.perf_counter()
        fresh = _work(executor, job, [task for task in tasks if task.number not in done], done)
        manifest = manifests.write(out, info, [*done.values(), *fresh], finished=True)
    _report(manifest, fresh, time.perf_counter() - begin)
    return 2 if manifest.skipped else 0


def make_executor(
    engine: Literal["local", "ray"], address: str | None, workers: int | None, device: Device
) -> Executor:
    """What runs the tasks of a job.

    Args:
        engine: local = processes on this machine, ray = actors on a Ray cluster.
        address: of the cluster; None = a Ray of this machine.
        workers: processes at a time; None = a processor each, or a GPU each of the cluster.
        device: where workers compute.

    Raises:
        MissingExtra: Ray is not installed.
        UserError: an address without Ray.
    """
    if engine == "ray":
        from anycodec.workflows.shards.on_ray import RayExecutor

        return RayExecutor(workers, address, device)
    if address is not None:
        raise UserError("only Ray has an address", where=f"--address {address}", how="add --engine ray")
    return LocalExecutor(workers or processors())


def _begin(out: Path, info: SetInfo, tasks: Sequence[Task]) -> dict[int, ShardRecord]:
    """Find what an earlier job has done; write the manifest of it.

    Raises:
        UserError: the folder holds something else.
    """
    clear(out)
    done: dict[int, ShardRecord] = {}
    if (out / manifests.NAME).is_file():
        found = manifests.read(out)
        manifests.check_same(found.info, info, out)
        done = dict(found.records)
    elif any(out.iterdir()):
        raise UserError("the folder is not empty", where=str(out), how="choose another folder with -o")
    for task in tasks:
        path = out / shard_name(task.number)
        record = done.pop(task.number, None)
        if not path.is_file():
            continue
        record = record or manifests.adopt(path)
        if (record.shard, record.plan, record.size) == (task.number, info.plan, path.stat().st_size):
            done[task.number] = record
    manifests.write(out, info, done.values(), finished=False)
    return done


def _work(
    executor: Executor, job: TokenizeJob, tasks: Sequence[Task], done: dict[int, ShardRecord]
) -> list[ShardRecord]:
    """Run the tasks, noting each shard as it ends."""
    fresh: list[ShardRecord] = []
    if done and tasks:
        console.print(f"{len(done)} shards are done already, {len(tasks)} are left")
    files = sum(len(task.files) for task in tasks)
    bar = TokenizeBar(files, sum(task.size for task in tasks))
    with bar, closing(executor.run(job, tasks)) as events:
        for event in events:
            match event:
                case Progress():
                    bar.advance(event.shard, event.files, event.done, event.samples)
                case Lost():
                    bar.start_again(event.shard)
                    console.print(f"a worker died ({event.reason}); its shard starts again", style="yellow")
                case ShardRecord():
                    manifests.append(job.out, event)
                    fresh.append(event)
    return fresh


def _report(manifest: Manifest, fresh: Sequence[ShardRecord], seconds: float) -> None:
    totals = manifest.totals()
    size = sum(record.size for record in manifest.records.values())
    console.print(
        f"{totals['files']:,} files, {totals['signals']:,} signals, {totals['samples']:,} samples -> "
        f"{totals['tokens']:,} tokens in {len(manifest.records):,} shards, {size:,} bytes"
    )
    if fresh:
        samples = sum(record.samples for record in fresh)
        console.print(f"{samples / max(seconds, 1e-9):,.0f} samples/s over {seconds:,.1f} s")
    _list_skipped(manifest.skipped)


def _list_skipped(skipped: Sequence[Skipped]) -> None:
    for item in skipped[:_SKIPPED_SHOWN]:
        console.print(f"left out: {item.path}: {item.reason}", style="yellow", markup=False)
    if len(skipped) > _SKIPPED_SHOWN:
        more = f"... and {len(skipped) - _SKIPPED_SHOWN:,} more; all are in {manifests.NAME}"
        console.print(more, style="yellow")
