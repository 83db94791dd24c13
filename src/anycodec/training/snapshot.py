"""The resumable state of a training in a form that every engine reads: `resume/state.safetensors`.

Tensors are named as in `weights.safetensors`; where a training stands is text in the file's metadata.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open

from anycodec.checkpoint import Arrays, RunDirectory, read_arrays, write_arrays
from anycodec.errors import RunError
from anycodec.training.standing import Progress

FILE = "state.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkState:
    """A network and its optimizer.

    Attributes:
        tensors: parameters and buffers by name.
        first: Adam's first moment of each trained parameter that was updated.
        second: its second moment.
        updates: updates done, the exponent of Adam's bias correction.
    """

    tensors: Arrays
    first: Arrays
    second: Arrays
    updates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A training between two steps.

    Attributes:
        engine: who wrote it.
        progress: where it stands.
        codec: the codec as it is trained, not the kept weights.
        discriminator: None without adversarial training.
        average: averaged parameters of the codec by name, {} where `train.ema` is off.
        average_updates: updates of the average.
        own: what means something to `engine` only, such as random states.
    """

    engine: str
    progress: Progress
    codec: NetworkState
    discriminator: NetworkState | None = None
    average: Arrays = field(default_factory=dict)
    average_updates: int = 0
    own: Arrays = field(default_factory=dict)


def save_snapshot(run: RunDirectory, snapshot: Snapshot) -> None:
    """Replace the resumable state atomically.

    Raises:
        ResourceError: the disk is full.
    """
    run.resume.mkdir(exist_ok=True)
    networks = {"codec": snapshot.codec}
    if snapshot.discriminator is not None:
        networks["discriminator"] = snapshot.discriminator
    arrays = _prefixed("average", snapshot.average) | _prefixed("own", snapshot.own)
    for name, network in networks.items():
        arrays |= _prefixed(f"{name}.tensors", network.tensors)
        arrays |= _prefixed(f"{name}.first", network.first)
        arrays |= _prefixed(f"{name}.second", network.second)
    standing = {
        "engine": snapshot.engine,
        "progress": asdict(snapshot.progress),
        "updates": {name: network.updates for name, network in networks.items()},
        "average_updates": snapshot.average_updates,
    }
    write_arrays(run.resume / FILE, arrays, {"standing": json.dumps(standing)})


def load_snapshot(run: RunDirectory) -> Snapshot | None:
    """The resumable state, None where there is none.

    Raises:
        RunError: the file is damaged.
    """
    path: Path = run.resume / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            standing = json.loads(file.metadata()["standing"])
        arrays = read_arrays(path)
        updates = standing["updates"]
        return Snapshot(
            engine=standing["engine"],
            progress=Progress(**standing["progress"]),
            codec=_network(arrays, "codec", updates["codec"]),
            discriminator=_network(arrays, "discriminator", updates["discriminator"])
            if "discriminator" in updates
            else None,
            average=_under("average", arrays),
            average_updates=standing["average_updates"],
            own=_under("own", arrays),
        )
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RunError) as error:
        raise RunError(
            f"the resumable state is damaged: {(str(error) or type(error).__name__).splitlines()[0]}",
            where=str(path),
            how="remove the resume folder and train again, or restore it from a copy",
        ) from error


def _network(arrays: Arrays, name: str, updates: int) -> NetworkState:
    return NetworkState(
        tensors=_under(f"{name}.tensors", arrays),
        first=_under(f"{name}.first", arrays),
        second=_under(f"{name}.second", arrays),
        updates=updates,
    )


def _prefixed(prefix: str, arrays: Arrays) -> Arrays:
    return {f"{prefix}/{name}": value for name, value in arrays.items()}


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {k.removeprefix(f"{prefix}/"): v for k, v in arrays.items() if k.startswith(f"{prefix}/")}
