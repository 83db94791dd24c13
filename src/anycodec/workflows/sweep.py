"""`anycodec sweep`: many trainings over the GPUs or processors of a machine."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from anycodec.atomic import atomic_write
from anycodec.checkpoint import RunDirectory
from anycodec.config.loader import dump_spec
from anycodec.errors import UserError
from anycodec.processors import processors
from anycodec.training.stop import Terminated
from anycodec.workflows.console import out as console
from anycodec.workflows.exclusive import exclusive
from anycodec.workflows.machine import gpus
from anycodec.workflows.sweeps import results
from anycodec.workflows.sweeps.board import LiveBoard
from anycodec.workflows.sweeps.folder import SweepFolder
from anycodec.workflows.sweeps.grid import parse_axes
from anycodec.workflows.sweeps.launch import Launch, launch_here
from anycodec.workflows.sweeps.plan import Variant, Wanted, common_metric, find_configs, plan
from anycodec.workflows.sweeps.plot import metric_plot
from anycodec.workflows.sweeps.ranges import parse_ranges
from anycodec.workflows.sweeps.scheduler import Scheduler
from anycodec.workflows.sweeps.search import OptunaSearch, base_variant, require_optuna
from anycodec.workflows.sweeps.slots import Slot, allocate
from anycodec.workflows.sweeps.slurm import sbatch_script
from anycodec.workflows.sweeps.state import Job, JobState, SweepState, digest, load_state
from anycodec.workflows.sweeps.training import finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Where runs may train; see `anycodec.workflows.sweeps.slots.allocate`.

    Attributes:
        gpus: of this machine, by number.
        per_gpu: trainings on a GPU at a time.
        slots: trainings at a time on processors.
        engine: local = this machine, ray = a Ray cluster.
        address: of the cluster; None = a Ray of this machine.
    """

    gpus: str | None = None
    per_gpu: int = 1
    slots: int | None = None
    engine: Literal["local", "ray"] = "local"
    address: str | None = None

    @contextmanager
    def opened(self) -> Iterator[tuple[list[Slot], Launch]]:
        """The slots, and what starts trainings in them.

        Raises:
            UserError: a GPU that is not there, or a cluster that does not answer.
            MissingExtra: Ray is not installed.
        """
        if self.engine == "ray":
            from anycodec.workflows.sweeps.on_ray import ray_slots

            with ray_slots(self.address, self.gpus, self.per_gpu, self.slots) as found:
                yield found
            return
        if self.address is not None:
            what = "only Ray has an address"
            raise UserError(what, where=f"--address {self.address}", how="add --engine ray")
        yield allocate(self.gpus, self.per_gpu, self.slots, gpus(), processors()), launch_here


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What shall be trained.

    Attributes:
        configs: files, run directories, or folders of files; () = those of the sweep that is resumed.
        overrides: `dotted.key=value` for all runs.
        grid: `dotted.key=value,value`, each combination a run.
        search: `dotted.key=low..high` and the like: what a search may choose.
        trials: runs of the search; None = no search.
        metric: column of metrics.csv that ranks runs; None = their common `train.best.metric`.
    """

    configs: Sequence[Path] = ()
    overrides: Sequence[str] = ()
    grid: Sequence[str] = ()
    search: Sequence[str] = ()
    trials: int | None = None
    metric: str | None = None


def run(
    request: Request, out: Path, *, allocation: Allocation, retries: int = 1, resume: bool = False
) -> int:
    """Train what is asked for, or what a stopped sweep left to do.

    Args:
        request: what to train.
        out: folder of the sweep.
        allocation: where.
        retries: further attempts that a run has after its first failure.
        resume: continue the sweep in that folder: what was stopped goes on, what failed starts again.

    Returns:
        0, or 2 where a run failed.

    Raises:
        ConfigError: the mistakes of all configurations, before anything starts.
        UserError: a GPU that is not there, or the folder holds something else.
        MissingExtra: a search without Optuna, a cluster without Ray.
        Terminated: SIGTERM or Ctrl-C; every run wrote a checkpoint.
    """
    with allocation.opened() as (slots, launch):
        return _run(request, out, slots, launch, retries=retries, resume=resume)


def _run(
    request: Request, out: Path, slots: list[Slot], launch: Launch, *, retries: int, resume: bool
) -> int:
    folder = SweepFolder(out.resolve())
    wanted = Wanted(request.metric, on_gpu=slots[0].gpu is not None)
    planned = _plan(request, wanted, resume=resume)
    if resume:
        load_state(folder.state)
    else:
        _make(folder)
    with exclusive(folder.path):
        state = _resumed(folder, planned, request) if resume else _begun(folder, planned)
        search = _search(folder, state, wanted)
        with LiveBoard(state, retries) as board:
            scheduler = Scheduler(
                folder, state, slots, retries=retries, board=board, search=search, launch=launch
            )
            stopped = scheduler.run()
        _report(folder, state)
    if stopped is not None:
        console.print(f"next: anycodec sweep --resume --out {shlex.quote(str(out))}", markup=False)
        raise Terminated(stopped)
    return 2 if state.count(JobState.FAILED) else 0


def write_slurm(request: Request, out: Path, allocation: Allocation) -> int:
    """Write what is asked for as an array job for SLURM, and start nothing.

    Args:
        request: what to train.
        out: folder of the sweep.
        allocation: slots = runs at a time, on processors; without, each run asks for a GPU.

    Raises:
        ConfigError: the mistakes of all configurations.
        UserError: a search, GPUs by name, or the folder holds something else.
    """
    if request.trials is not None:
        what = "a search needs the figures of earlier runs before it begins the next"
        raise UserError(what, how="run the sweep with --optuna inside a job, without --slurm")
    if allocation.gpus is not None:
        how = "leave it out, or give --slots N for N runs at a time on processors"
        raise UserError("with --slurm each run asks for one GPU, whichever it is", where="--gpus", how=how)
    folder = SweepFolder(out.resolve())
    on_gpu = allocation.slots is None
    planned = _plan(request, Wanted(request.metric, on_gpu), resume=False)
    _make(folder)
    state = _begun(folder, planned)
    atomic_write(folder.script, sbatch_script(folder, state, on_gpu=on_gpu, at_a_time=allocation.slots))
    console.print(f"{len(state.jobs)} runs are written; nothing was started", markup=False)
    console.print(f"next: sbatch {shlex.quote(str(folder.script))}", markup=False)
    return 0


@dataclass(frozen=True, slots=True)
class _Plan:
    """The state that a new sweep would have, and its configurations."""

    state: SweepState
    variants: list[Variant]
    base: Variant | None = None


def _plan(request: Request, wanted: Wanted, *, resume: bool) -> _Plan | None:
    """What the command line asks for; None where it only continues a sweep."""
    if not request.configs:
        if resume and not (request.overrides or request.grid or request.search):
            return None
        raise UserError("no configuration is given", how="anycodec sweep CONFIG..., or --resume --out FOLDER")
    configs = find_configs(request.configs)
    working = str(Path.cwd())
    if request.trials is None and not request.search:
        variants = plan(configs, request.overrides, parse_axes(request.grid), wanted)
        metric = request.metric or common_metric(variants)
        return _Plan(SweepState(working=working, metric=metric, jobs=_jobs(variants)), variants)
    _check_search(request, configs)
    base = base_variant(configs[0], request.overrides, parse_ranges(request.search), wanted)
    state = SweepState(
        working=working, metric=request.metric or common_metric([base]), base=digest(dump_spec(base.spec)),
        search=tuple(request.search), trials=request.trials or 0, jobs=[],
    )  # fmt: skip
    return _Plan(state, [], base)


def _check_search(request: Request, configs: Sequence[Path]) -> None:
    if request.trials is None or not request.search:
        how = "for example --optuna 20 --search train.optimizer.lr=1e-5..1e-3:log"
        raise UserError("--optuna and --search go together", how=how)
    if request.grid or len(configs) > 1:
        how = "search KEY=VALUE,VALUE instead of a grid, and each configuration in a folder of its own"
        raise UserError("a search varies one configuration, and takes no --grid", how=how)
    require_optuna()


def _search(folder: SweepFolder, state: SweepState, wanted: Wanted) -> OptunaSearch | None:
    if state.base is None:
        return None
    return OptunaSearch(folder, state, parse_ranges(state.search), replace(wanted, metric=state.metric))


def _make(folder: SweepFolder) -> None:
    """The folder of a new sweep."""
    _refuse_used(folder)
    folder.create()


def _refuse_used(folder: SweepFolder) -> None:
    if folder.state.is_file():
        raise UserError(
            "the folder already holds a sweep",
            where=str(folder.path),
            how="continue it with --resume, choose another folder with --out, or remove it",
        )
    if folder.path.exists() and any(folder.path.iterdir()):
        raise UserError(
            "the folder is not empty", where=str(folder.path), how="choose another one with --out"
        )


def _begun(folder: SweepFolder, planned: _Plan | None) -> SweepState:
    """Store the configurations of a new sweep."""
    assert planned is not None
    for variant in planned.variants:
        atomic_write(folder.config(variant.name), dump_spec(variant.spec))
    if planned.base:
        atomic_write(folder.base, dump_spec(planned.base.spec))
    planned.state.save(folder.state)
    return planned.state


def _resumed(folder: SweepFolder, planned: _Plan | None, request: Request) -> SweepState:
    """The state of a sweep, ready to go on."""
    state = load_state(folder.state)
    if planned:
        _check_same(folder, state, planned.state)
    state.metric = request.metric or state.metric
    state.trials = request.trials or state.trials
    for job in state.jobs:
        if job.state is JobState.DONE or (job.state is JobState.FAILED and state.base):
            continue  # to a search, a run that failed is an answer
        done = finished(RunDirectory(folder.run(job.name)))
        job.state = JobState.DONE if done else JobState.WAITING
        job.failures = 0
    state.save(folder.state)
    return state


def _check_same(folder: SweepFolder, before: SweepState, now: SweepState) -> None:
    """Refuse to continue a sweep as another one."""
    if before.base or now.base:
        same = (before.base, before.search) == (now.base, now.search)
        differs = "what is searched differs"
    else:
        old, new = ({job.name: job.digest for job in state.jobs} for state in (before, now))
        changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        same = not changed
        differs = f"{len(old)} runs then, {len(new)} now; new, gone or changed: {', '.join(changed[:4])}"
    if not same:
        raise UserError(
            f"the folder holds another sweep: {differs}",
            where=str(folder.path),
            how="continue it as it was with --resume --out alone, or choose another folder with --out",
        )


def _jobs(variants: Sequence[Variant]) -> list[Job]:
    return [
        Job(name=variant.name, settings=variant.settings, digest=digest(dump_spec(variant.spec)))
        for variant in variants
    ]


def _report(folder: SweepFolder, state: SweepState) -> None:
    """Write the summary and print it."""
    found = results.collect(folder, state)
    if not found:
        return
    results.write_tables(folder, results.rows(found, state.metric))
    atomic_write(folder.results(".png"), metric_plot(found, state.metric))
    console.print(results.terminal_table(found, state.metric))
    for job in state.jobs:
        if job.state is JobState.FAILED:
            text = f"{job.name}: {job.note} (see {folder.log(job.name)})"
            console.print(text, style="yellow", markup=False)
    console.print(f"{folder.results('.csv')}, .md, .png", markup=False)
