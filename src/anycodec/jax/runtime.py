"""How JAX is set up, before it looks for devices: platform, precision, compile cache, processes, mesh."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from anycodec.cache import compiled_programs
from anycodec.errors import UserError

BATCH_AXIS = "batch"
_GPU_PLUGINS = ("jax-cuda12-plugin", "jax-cuda13-plugin", "jax-rocm7-plugin")


def configure(
    device: str, *, threads: int | None = None, tf32: bool = True, devices: int | None = None
) -> None:
    """Set JAX up for a device; once it has computed, what concerns devices stays as it is.

    An empty CUDA_VISIBLE_DEVICES means the CPU; XLA_PYTHON_CLIENT_MEM_FRACTION is JAX's own.

    Args:
        device: auto, cpu or cuda.
        threads: of the CPU; None = all cores.
        tf32: multiply float32 in 19 bits where a GPU can.
        devices: into which the processors are divided, where there is no GPU; None = one.

    Raises:
        UserError: cuda was asked for and this JAX has no GPU build.
    """
    if device == "cuda" and not _has_gpu_build():
        raise UserError(
            "this jax has no GPU build",
            where="train.device=cuda",
            how="pip install -U 'jax[cuda12]', or use device auto or cpu; see `anycodec doctor`",
        )
    if device == "cpu" or os.environ.get("CUDA_VISIBLE_DEVICES") == "" or not _has_gpu_build():
        _set("jax_platforms", "cpu")
    if threads is not None:
        os.environ["NPROC"] = str(threads)  # XLA sizes its pool by it, and has no other way to be told
    if devices is not None and jax.config.jax_num_cpu_devices != devices:  # type: ignore[attr-defined]
        with suppress(RuntimeError):  # it has computed before
            _set("jax_num_cpu_devices", devices)
    _set("jax_default_matmul_precision", None if tf32 else "highest")
    _set("jax_compilation_cache_dir", str(compiled_programs()))
    _join_processes()


def devices(device: str) -> list[jax.Device]:
    """The devices to compute on, those of all processes.

    Raises:
        UserError: cuda was asked for and there is none.
    """
    if device == "auto":
        return jax.devices()
    try:
        return jax.devices(device)
    except RuntimeError as error:
        raise UserError(
            f"no {device.upper()} device is available",
            where=f"device {device}",
            how="use device auto or cpu; see `anycodec doctor`",
        ) from error


def make_mesh(device: str, count: int | None = None) -> Mesh:
    """Devices along one axis, that of a batch.

    Args:
        device: auto, cpu or cuda.
        count: devices of each process; None = all.

    Raises:
        UserError: there are fewer.
    """
    found = devices(device)
    if count is not None:
        present = len(found) // jax.process_count()
        if count > present:
            raise UserError(
                f"{count} devices are wanted, this machine has {present}",
                where=f"train.devices {count}",
                how=f"use at most {present}; see `anycodec doctor`",
            )
        found = [one for number in range(jax.process_count()) for one in _of(number, found)[:count]]
    return jax.make_mesh((len(found),), (BATCH_AXIS,), axis_types=(AxisType.Auto,), devices=found)


def _of(process: int, found: Sequence[jax.Device]) -> list[jax.Device]:
    """The devices of a process."""
    return [device for device in found if device.process_index == process]


def replicated(mesh: Mesh) -> NamedSharding:
    """The same values on every device."""
    return _sharding(mesh)


def split(mesh: Mesh, axis: int) -> NamedSharding:
    """Axis `axis` cut into as many parts as there are devices."""
    return _sharding(mesh, *[None] * axis, BATCH_AXIS)


def _sharding(mesh: Mesh, *axes: str | None) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*axes))  # type: ignore[no-untyped-call]


def _set(name: str, value: object) -> None:
    jax.config.update(name, value)  # type: ignore[no-untyped-call]


def _has_gpu_build() -> bool:
    for name in _GPU_PLUGINS:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return True
    return False


def _join_processes() -> None:
    """Become one of several processes where the environment says so, in the words of `jax.distributed`.

    JAX_COORDINATOR_ADDRESS is `host:port` of the first; JAX_NUM_PROCESSES and JAX_PROCESS_ID can be left
    out under Slurm and Open MPI, which tell them.
    """
    if "JAX_COORDINATOR_ADDRESS" not in os.environ or jax.distributed.is_initialized():
        return
    count, number = os.environ.get("JAX_NUM_PROCESSES"), os.environ.get("JAX_PROCESS_ID")
    jax.distributed.initialize(
        num_processes=int(count) if count else None, process_id=int(number) if number else None
    )
