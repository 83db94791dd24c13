"""Stages one after the other: each is skipped while its inputs are the same, and continued where it stopped.

`state.json` in the folder says of each stage which inputs it was given, whether it ended, and what came out:

    {"format": "anycodec stages", "version": 1,
     "stages": {"codec": {"inputs": SHA-256, "output": SHA-256 or null, "seconds": 61.2}, ...}}

A stage's inputs are its settings and the outputs of the stages before it. Its files lie in a folder of its
own, which is emptied when its inputs change.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anycodec.atomic import atomic_write
from anycodec.errors import UserError
from anycodec.workflows.console import out as console

STATE = "state.json"
_LARGEST_STATE = 2**20


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of a pipeline.

    Attributes:
        name: also that of its folder.
        settings: all that decides its result beside the stages before it; JSON.
        run: does it, given its folder and whether to continue what lies there.
        output: SHA-256 of what came out, of its folder; None where it isn't finished.
    """

    name: str
    settings: Any
    run: Callable[[Path, bool], None]
    output: Callable[[Path], str | None]


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a stage that was begun; `output` None until it ends."""

    inputs: str
    output: str | None = None
    seconds: float = 0.0


def run_stages(
    folder: Path, stages: Sequence[Stage], *, skip: Collection[str] = (), force: bool = False
) -> None:
    """Run stages in a folder, or what an earlier call left to do.

    Args:
        folder: is made if it isn't there.
        stages: in order.
        skip: names of stages whose result is taken as it lies there, whatever it was made from.
        force: run all that are not skipped, from the start.

    Raises:
        UserError: a stage to be skipped has no result, or the folder's state is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = _read(folder / STATE)
    before: dict[str, str] = {}
    for number, stage in enumerate(stages, start=1):
        title = f"[{number}/{len(stages)}] {stage.name}"
        if stage.name in skip:
            before[stage.name] = _as_it_is(folder / stage.name, stage)
            console.print(f"{title}: as it is", markup=False)
            continue
        inputs = fingerprint([stage.settings, before])
        record = records.get(stage.name)
        there = stage.output(folder / stage.name)
        if not force and record and record.output and (record.inputs, record.output) == (inputs, there):
            console.print(f"{title}: unchanged, {record.seconds:.0f} s saved", markup=False)
        else:
            resume = not force and record is not None and record.inputs == inputs and record.output is None
            console.print(title + (": continued" if resume else ""), markup=False, style="bold")
            records[stage.name] = Record(inputs)
            _write(folder / STATE, records)
            records[stage.name] = Record(inputs, *_execute(stage, folder / stage.name, resume))
            _write(folder / STATE, records)
        before[stage.name] = records[stage.name].output or ""


def fingerprint(value: Any) -> str:
    """SHA-256 of JSON, whatever the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def files_fingerprint(folder: Path, pattern: str = "**/*") -> str | None:
    """SHA-256 over names and contents of a folder's files; None where there are none."""
    digest = hashlib.sha256()
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    for path in found:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest() if found else None


def _execute(stage: Stage, folder: Path, resume: bool) -> tuple[str, float]:
    """Run a stage: its output and the seconds it took."""
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    stage.run(folder, resume)
    output = stage.output(folder)
    assert output is not None, f"stage {stage.name} ended without a result"
    return output, time.monotonic() - started


def _as_it_is(folder: Path, stage: Stage) -> str:
    output = stage.output(folder)
    if output is None:
        raise UserError(
            f"there is no finished result of the stage {stage.name} to go on with",
            where=str(folder),
            how=f"run it: leave out --skip-{stage.name}",
        )
    return output


def _read(path: Path) -> dict[str, Record]:
    """The records of a state file, {} where there is none."""
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > _LARGEST_STATE:
            raise ValueError("too large")
        content: Mapping[str, Any] = json.loads(path.read_bytes())
        if content.get("format") != "anycodec stages" or content.get("version") != 1:
            raise ValueError("of another kind or version")
        return {str(name): Record(**record) for name, record in content["stages"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(
            f"the state of this pipeline is damaged: {error}",
            where=str(path),
            how="remove the file to run all stages again, or choose another folder with -o",
        ) from error


def _write(path: Path, records: Mapping[str, Record]) -> None:
    stages = {name: asdict(record) for name, record in records.items()}
    content = {"format": "anycodec stages", "version": 1, "stages": stages}
    atomic_write(path, json.dumps(content, indent=1) + "\n")
