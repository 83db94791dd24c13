"""Stages one after the other: each is skipped while its inputs are the same, and continued where it stopped.

`state.json` in the folder says of each stage which inputs it was given, whether it ended, and what came out:

    {"format": "anycodec stages", "version": 1,
     "stages": {"codec": {"inputs": SHA-256, "output": SHA-256 or null, "seconds": 61.2,
                          "settings": {"codec.train.steps": 2000, ...}, "before": {"split": SHA-256}}, ...}}

A stage's inputs are the settings that its result depends on and the outputs of the stages before it. Its
files lie in a folder of its own, which is emptied when its inputs change; a finished training is moved aside.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from anycodec.atomic import atomic_write
from anycodec.errors import UserError
from anycodec.workflows.console import out as console
from anycodec.workflows.differences import differences, flat

STATE = "state.json"
_LARGEST_STATE = 2**20
_MOST_CHANGES = 5
_LONGEST_VALUE = 60


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of a pipeline.

    Attributes:
        name: also that of its folder.
        settings: by name, nested; JSON.
        run: does it, given its folder and whether to continue what lies there.
        output: SHA-256 of what came out, of its folder; None where it isn't finished.
        without_effect: whether a setting, by dotted key, leaves the result as it is.
        keep: whether a finished result stays in NAME.previous when another one replaces it.
    """

    name: str
    settings: Mapping[str, Any]
    run: Callable[[Path, bool], None]
    output: Callable[[Path], str | None]
    without_effect: Callable[[str], bool] = lambda _: False
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a stage that was begun.

    Attributes:
        inputs: SHA-256 of `settings` and `before`.
        output: None until it ends.
        seconds: that it took.
        settings: those that its result depends on, by dotted key; None = not written down at the time.
        before: outputs of the stages before it.
    """

    inputs: str
    output: str | None = None
    seconds: float = 0.0
    settings: Mapping[str, Any] | None = None
    before: Mapping[str, str] | None = None


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
        record, wanted = records.get(stage.name), _wanted(stage, before)
        there = stage.output(folder / stage.name)
        same = record and record.inputs in (wanted.inputs, _inputs_of_all(stage, before)) and not force
        current = record if same else None
        if current and current.output == there is not None:
            console.print(f"{title}: unchanged, {current.seconds:.0f} s saved", markup=False)
            records[stage.name] = replace(wanted, output=there, seconds=current.seconds)
        else:
            resume = current is not None and current.output is None
            console.print(title + (": continued" if resume else ""), markup=False, style="bold")
            if record and not resume and not force:
                _say_why(record, wanted)
            if stage.keep and there is not None and not resume:
                _set_aside(folder / stage.name)
            records[stage.name] = wanted
            _write(folder / STATE, records)
            output, seconds = _execute(stage, folder / stage.name, resume)
            records[stage.name] = replace(wanted, output=output, seconds=seconds)
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


def _wanted(stage: Stage, before: Mapping[str, str]) -> Record:
    """The record of a stage that begins now."""
    settings = {key: value for key, value in flat(stage.settings).items() if not stage.without_effect(key)}
    settings = json.loads(json.dumps(settings, default=str))
    return Record(fingerprint([settings, before]), settings=settings, before=dict(before))


def _inputs_of_all(stage: Stage, before: Mapping[str, str]) -> str:
    """The fingerprint as it was before settings without effect were left out and settings written down."""
    values = list(stage.settings.values())
    return fingerprint([values[0] if len(values) == 1 else values, before])


def _say_why(record: Record, wanted: Record) -> None:
    """What makes a stage run again that had begun or ended already."""
    for line in _changes(record, wanted):
        console.print(f"  again: {line}", markup=False)


def _changes(record: Record, wanted: Record) -> list[str]:
    if record.settings is None or record.before is None or wanted.settings is None:
        return ["a setting or an earlier result has changed, which one was not written down at the time"]
    earlier, now = record.before, wanted.before or {}
    changed = [
        f"{key} was {_short(old)}, now {_short(new)}"
        for key, (old, new) in differences(record.settings, wanted.settings).items()
    ]
    more = [f"{len(changed) - _MOST_CHANGES} more settings"] if len(changed) > _MOST_CHANGES else []
    stages = [f"the result of {name} has changed" for name in now if now[name] != earlier.get(name)]
    return changed[:_MOST_CHANGES] + more + stages or ["its result was removed, or changed by other hands"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def _set_aside(folder: Path) -> None:
    """Keep what is replaced, one result at a time."""
    kept = folder.with_name(f"{folder.name}.previous")
    shutil.rmtree(kept, ignore_errors=True)
    folder.rename(kept)
    console.print(f"  what was there is kept in {kept}, until it is replaced again", markup=False)


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
