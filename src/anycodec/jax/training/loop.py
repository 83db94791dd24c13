"""Train a codec in JAX."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from anycodec.checkpoint import read_arrays, write_arrays
from anycodec.config.run import RunSpec
from anycodec.config.train import LoopSpec
from anycodec.engine import StartingWeights, TrainingJob, TrainingResult
from anycodec.jax import runtime
from anycodec.jax.adversarial.objectives import make_objective
from anycodec.jax.codecs import Codec, make_codec
from anycodec.jax.discriminators import make_discriminator
from anycodec.jax.losses import make_losses
from anycodec.jax.memory import out_of_memory
from anycodec.jax.quantizers.renewal import RenewedCodes
from anycodec.jax.training.batches import TrainBatches, starting_batches, validation_batches
from anycodec.jax.training.contest import Contest, Scalars, Terms
from anycodec.jax.training.networks import Plan, TrainState, Tree, on_devices
from anycodec.jax.training.processes import shared
from anycodec.jax.training.resume import new_state, rival_figures, snapshot_of, state_of
from anycodec.jax.training.session import Session
from anycodec.jax.training.step import Recipe, Step
from anycodec.jax.training.validate import Validation
from anycodec.jax.weights import load_arrays, lr_factors
from anycodec.training.csvlog import CsvLog
from anycodec.training.progress import ProgressBar
from anycodec.training.sharing import check_shares, effective
from anycodec.training.snapshot import Snapshot, load_snapshot, save_snapshot
from anycodec.training.standing import Progress
from anycodec.training.stop import StopRequest, Terminated
from anycodec.training.trackers import make_trackers

_DTYPES = {"fp32": jnp.float32, "bf16": jnp.bfloat16}


@dataclass(frozen=True, slots=True)
class Parts:
    """What is trained, and the structures to put it together again.

    Attributes:
        codec: the codec.
        rival: the discriminator, None without.
        codec_plan: structure of the codec.
        rival_plan: structure of the discriminator.
        exact_plan: structure of the discriminator computing in float32.
        terms: reconstruction terms.
    """

    codec: Codec
    rival: nnx.Module | None
    codec_plan: Plan
    rival_plan: Plan | None
    exact_plan: Plan | None
    terms: Terms


def train(job: TrainingJob) -> TrainingResult:
    """Run a training to its last step, an early stop or a stop signal.

    Raises:
        ConfigError: a batch that the devices can't share, a part that this engine does not have.
        ResourceError: the batch does not fit in memory.
        RunError: a term became NaN, the resumable state is damaged, or starting weights don't fit.
        Terminated: SIGTERM or Ctrl-C; a checkpoint was written.
    """
    train_spec = job.spec.train
    runtime.configure(
        train_spec.device, threads=train_spec.threads, tf32=train_spec.tf32, devices=train_spec.devices
    )
    return _train(shared(job))


def follow(spec: LoopSpec) -> bool:
    """Take part in a training that another process leads; see `anycodec.engine.Engine.follow`."""
    runtime.configure(spec.device, threads=spec.threads, devices=spec.devices)
    if jax.process_index() == 0:
        return False
    job = shared(None)
    runtime.configure(spec.device, threads=spec.threads, tf32=job.spec.train.tf32, devices=spec.devices)
    _train(job)
    return True


def _train(job: TrainingJob) -> TrainingResult:
    """Train together with the other processes, if there are any."""
    spec, train_spec = job.spec, job.spec.train
    mesh = runtime.make_mesh(train_spec.device, train_spec.devices)
    check_shares(train_spec.batch_size, mesh.size)
    snapshot = load_snapshot(job.run) if job.resume else None
    progress = snapshot.progress if snapshot else Progress()
    with out_of_memory("codec", "lower the codec's widths"):
        parts = make_parts(spec, job.in_channels)
    batches = TrainBatches(job.train, spec.data, train_spec, start=progress.step, mesh=mesh)
    bar = ProgressBar(train_spec.steps, progress.step, job.quiet)
    bar.line(f"batch: {effective(train_spec, train_spec.accumulate, mesh.size)}")
    stop = StopRequest()
    seconds = values = 0.0
    if progress.step < train_spec.steps and not progress.exhausted(train_spec):
        where = f"train.batch_size {train_spec.batch_size}"
        how = "lower train.batch_size (train.accumulate makes up for it), the window or the codec's width"
        with stop, out_of_memory(where, how), closing(job.train), closing(iter(batches)) as steps:
            state = _first_state(job, parts, snapshot)
            session = _session(
                job,
                parts,
                state=state,
                rival=rival_figures(snapshot),
                progress=progress,
                stop=stop,
                mesh=mesh,
                bar=bar,
            )
            session.run(steps)
        seconds, values = session.seconds, session.values_done
        if parts.rival_plan and session.state.rival and jax.process_index() == 0:
            last = session.state.rival
            write_arrays(job.run.discriminator, parts.rival_plan.arrays(last.params, last.rest))
    if stop.number is not None:
        raise Terminated(stop.number)
    busy = max(seconds, 1e-9)
    return TrainingResult(
        steps=progress.step,
        bests=progress.bests,
        seconds=seconds,
        data_wait=min(1.0, batches.waited / busy),
        samples_per_second=values / busy,
    )


def make_parts(spec: RunSpec, channels: int) -> Parts:
    """The networks of a configuration, before training.

    Raises:
        ConfigError: a part that this engine does not have.
    """
    dtype = _DTYPES[spec.train.precision]
    codec = make_codec(spec.codec, channels, spec.seed, dtype)
    losses = make_losses(spec.losses)
    weights = {name: term.weight for name, term in spec.losses.items()}

    def terms(y: jax.Array, x: jax.Array) -> Scalars:
        return {name: weights[name] * loss(y, x) for name, loss in losses.items()}

    if spec.adversarial is None:
        return Parts(codec, None, Plan(codec), None, None, terms)
    rival, exact = (
        make_discriminator(spec.adversarial.discriminator, channels, spec.seed, precision)
        for precision in (dtype, jnp.float32)
    )
    return Parts(codec, rival, Plan(codec), Plan(rival), Plan(exact), terms)


def make_step(spec: RunSpec, parts: Parts, mesh: Mesh) -> Step:
    """The compiled step of these parts."""
    contest = None
    if spec.adversarial is not None and parts.rival_plan is not None and parts.exact_plan is not None:
        contest = Contest(
            codec=parts.codec_plan,
            rival=parts.rival_plan,
            exact=parts.exact_plan,
            terms=parts.terms,
            spec=spec.adversarial,
            objective=make_objective(spec.adversarial.objective),
            last_layer=parts.codec.last_layer(),
        )
    multiples = lr_factors(parts.codec)
    factors = tuple(multiples.get(name, 1.0) for name in parts.codec_plan.names)
    return Step(Recipe(spec.train, spec.seed, parts.codec_plan, parts.terms, factors, contest), mesh)


def _first_state(job: TrainingJob, parts: Parts, snapshot: Snapshot | None) -> TrainState:
    if snapshot is not None:
        return state_of(job.spec, parts.codec, parts.rival, snapshot, str(job.run.resume))
    if job.start is not None:
        _start_from(parts, job.start)
    else:
        parts.codec.start(starting_batches(job.train, job.spec.train.batch_size))
    return new_state(job.spec, parts.codec, parts.rival)


def _start_from(parts: Parts, weights: StartingWeights) -> None:
    """Give the networks weights that were trained before; their codes neither wait nor start anew."""
    load_arrays(parts.codec, read_arrays(weights.codec), str(weights.codec))
    for _, part in nnx.iter_modules(parts.codec):
        if isinstance(part, RenewedCodes):
            part.steps[...] = jnp.maximum(part.steps[...], part.spec.kmeans_after + 1)
    if weights.discriminator is not None and parts.rival is not None:
        load_arrays(parts.rival, read_arrays(weights.discriminator), str(weights.discriminator))


def _session(
    job: TrainingJob,
    parts: Parts,
    *,
    state: TrainState,
    rival: Mapping[str, float],
    progress: Progress,
    stop: StopRequest,
    mesh: Mesh,
    bar: ProgressBar,
) -> Session:
    spec, train_spec = job.spec, job.spec.train
    val = validation_batches(job.val, train_spec.batch_size, train_spec.val_batches)
    writes = jax.process_index() == 0

    def keep(params: Tree, rest: Tree, metric: str) -> None:
        if writes:
            write_arrays(job.weights(metric), parts.codec_plan.arrays(params, rest))

    def save(state: TrainState, figures: Mapping[str, float]) -> None:
        if writes:
            plans = parts.codec_plan, parts.rival_plan
            save_snapshot(job.run, snapshot_of(*plans, state, progress, figures))
            job.saved()

    return Session(
        spec=spec,
        step=make_step(spec, parts, mesh),
        state=on_devices(state, mesh),
        rival=rival,
        validate=Validation(parts.codec_plan, parts.terms, val, parts.codec.codebook_sizes, mesh),
        keep=keep,
        save=save,
        progress=progress,
        csv=CsvLog(job.run.metrics, progress.step) if writes else None,
        bar=bar,
        trackers=make_trackers(spec, job.run.path) if writes else [],
        stop=stop,
    )
