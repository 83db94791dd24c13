"""Train a codec with pytorch-lightning."""

from __future__ import annotations

import pickle
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from anycodec.checkpoint import write_arrays
from anycodec.config.codec import KlVaeSpec
from anycodec.config.run import RunSpec
from anycodec.engine import StartingWeights, TrainingJob, TrainingResult
from anycodec.errors import ConfigError, UserError
from anycodec.torch.codecs import make_codec
from anycodec.torch.codecs.base import Codec, CodecOutput
from anycodec.torch.device import out_of_memory
from anycodec.torch.losses import make_losses
from anycodec.torch.parallel import group
from anycodec.torch.parallel.batchnorm import join_batch_norms
from anycodec.torch.parallel.place import Place, find_place
from anycodec.torch.parallel.shards import gathered, shard
from anycodec.torch.parallel.team import together
from anycodec.torch.quantizers import Quantizer
from anycodec.torch.quantizers.price import PRICES
from anycodec.torch.quantizers.renewal import RenewedCodes
from anycodec.torch.shaping import latent_terms
from anycodec.torch.training.adversarial import AdversarialTraining
from anycodec.torch.training.adversary import Adversary
from anycodec.torch.training.batch import Batch
from anycodec.torch.training.batches import TrainBatches, starting_batches, validation_batches
from anycodec.torch.training.callback import StepCallback
from anycodec.torch.training.handover import resumable_state
from anycodec.torch.training.layout import lay_out
from anycodec.torch.training.module import CodecTraining
from anycodec.torch.training.pictures import PictureFigures
from anycodec.torch.training.state import progress_of, save_state
from anycodec.torch.training.trainer import make_trainer, quiet_lightning
from anycodec.torch.training.validate import validate
from anycodec.torch.weights import load_weights
from anycodec.training.csvlog import CsvLog
from anycodec.training.progress import ProgressBar
from anycodec.training.sharing import effective
from anycodec.training.standing import Progress
from anycodec.training.stop import StopRequest, Terminated


def train(job: TrainingJob) -> TrainingResult:
    """Run a training to its last step, an early stop or a stop signal.

    Where the configuration or a launcher asks for several processes, this one leads them.

    Raises:
        ConfigError: a precision that the device lacks, a batch that the devices can't share.
        ResourceError: the batch does not fit in memory, or another process was killed.
        RunError: a term became NaN, the resumable state is damaged, or starting weights don't fit.
        Terminated: SIGTERM or Ctrl-C; a checkpoint was written.
    """
    place = find_place(job.spec.train)
    portable = None if place.alone else _portable(job)
    with together(place):
        if portable is not None:
            group.tell(portable)
        return train_here(job, place)


def _portable(job: TrainingJob) -> TrainingJob:
    """The job as other processes get it: they are quiet, and keep nothing.

    Raises:
        ConfigError: a teacher that can't be sent to them.
    """
    try:
        pickle.dumps(job.teacher)
    except Exception as error:
        mistake = UserError(
            "this network can't be sent to other processes",
            where="alignment.teacher",
            how="align with a run of features or a model of the hub, or train on one device",
        )
        raise ConfigError([mistake]) from error
    return replace(job, quiet=True, saved=_nothing)


def _nothing() -> None:
    """What happens after a checkpoint that another process wrote."""


def train_here(job: TrainingJob, place: Place) -> TrainingResult:
    """Train together with the other processes, which are there already; see `train`."""
    spec, train_spec = job.spec, job.spec.train
    device = place.device(train_spec.device)
    _check_precision(spec, device)
    torch.set_num_threads(place.threads(train_spec.threads))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = train_spec.tf32
    torch.manual_seed(spec.seed)
    with out_of_memory("codec", "lower the codec's widths"):
        codec = make_codec(spec.codec, job.in_channels, len(job.classes))
    resumed = group.tell(resumable_state(job, codec, device) if job.resume and place.rank == 0 else None)
    progress = Progress()
    if resumed is not None:
        codec.load_state_dict(resumed["codec"])
        progress = progress_of(resumed)
    module = _module(job, codec)
    join_batch_norms(module)
    if resumed is None and job.start is not None:
        _start(module, job.start)
    fsdp = train_spec.strategy == "fsdp" and not place.alone
    if device.type == "cpu" and not fsdp:
        lay_out(module)
    batches = TrainBatches(
        job.train,
        spec.data,
        train_spec.batch_size,
        progress.step * train_spec.accumulate,
        labelled=_looks_at_labels(spec),
        share=(place.rank, place.size),
    )
    stop = StopRequest()
    bar = ProgressBar(train_spec.steps, progress.step, job.quiet)
    strategy = train_spec.strategy or "ddp"
    bar.line(f"batch: {effective(train_spec, train_spec.accumulate, place.size, strategy)}")
    callback = StepCallback(
        spec=spec,
        validate=partial(validate, batches=_validation(job, place), pictures=PictureFigures(spec)),
        progress=progress,
        csv=CsvLog(job.run.metrics, progress.step) if place.rank == 0 else None,
        bar=bar,
        stop=stop,
        keep=partial(_keep, job),
        save=partial(_save, job),
        resumed=resumed,
    )
    if progress.step < train_spec.steps and not progress.exhausted(train_spec):
        trainer = make_trainer(job, device, callback, train_spec.steps - progress.step)
        where = f"train.batch_size {train_spec.batch_size}"
        how = "lower train.batch_size (train.accumulate makes up for it), the window or the codec's width"
        with stop, quiet_lightning(), out_of_memory(where, how), closing(job.train):
            if resumed is None and job.start is None:
                codec.to(device).start(starting_batches(job.train, train_spec.batch_size, device))
            group.equalise(module)
            if fsdp:
                _shard(codec.to(device), device)
            trainer.fit(module, batches)
        if place.rank == 0:
            _save_companions(module, job)
    if stop.number is not None:
        raise Terminated(stop.number)
    busy = max(callback.seconds, 1e-9)
    return TrainingResult(
        steps=progress.step,
        bests=progress.bests,
        seconds=callback.seconds,
        data_wait=min(1.0, batches.waited / busy),
        samples_per_second=callback.values_done / busy,
    )


def _module(job: TrainingJob, codec: Codec) -> CodecTraining:
    spec = job.spec
    losses = make_losses(spec.losses)
    weights = {name: term.weight for name, term in spec.losses.items()}
    shaping = latent_terms(spec, codec, job.teacher)
    if spec.adversarial is None:
        return CodecTraining(codec, losses, weights, spec.train, shaping)
    with out_of_memory("adversarial.discriminator", "lower the discriminator's widths"):
        adversary = Adversary(spec.adversarial, job.in_channels, len(spec.codec.axes), spec.seed)
    return AdversarialTraining(codec, losses, weights, spec.train, adversary, shaping=shaping)


def _start(module: CodecTraining, weights: StartingWeights) -> None:
    """Give the networks weights that were trained before."""
    load_weights(module.codec, weights.codec, anew=PRICES)
    for quantizer in module.codec.modules():
        if isinstance(quantizer, RenewedCodes):
            quantizer.settle()
    if weights.discriminator is not None and isinstance(module, AdversarialTraining):
        load_weights(module.adversary.discriminator, weights.discriminator)


def _shard(codec: Codec, device: torch.device) -> None:
    """Divide a codec's weights among the processes, but for those of its quantizers."""
    quantizers = (module for module in codec.modules() if isinstance(module, Quantizer))
    shard(codec, device, CodecOutput, whole=(p for quantizer in quantizers for p in quantizer.parameters()))


def _keep(job: TrainingJob, module: CodecTraining, metric: str) -> None:
    """Keep the weights that are the best by a metric."""
    state = gathered(module.codec.state_dict())
    if group.rank() == 0:
        write_arrays(job.weights(metric), {name: value.cpu().numpy() for name, value in state.items()})


def _save_companions(module: CodecTraining, job: TrainingJob) -> None:
    """Keep what was trained beside the codec."""
    if isinstance(module, AdversarialTraining):
        save_weights(module.adversary.discriminator, job.run.discriminator)
    if module.shaping:
        save_weights(module.shaping, job.run.path / "alignment.safetensors")


def _validation(job: TrainingJob, place: Place) -> list[Batch]:
    """The windows that the first process judges the codec by."""
    spec, train = job.spec, job.spec.train
    if place.rank and train.strategy != "fsdp":
        return []
    labelled = _looks_at_labels(spec)
    return validation_batches(job.val, spec.data, train.batch_size, train.val_batches, labelled)


def _looks_at_labels(spec: RunSpec) -> bool:
    return isinstance(spec.codec, KlVaeSpec) and spec.codec.label_channels is not None


def _save(job: TrainingJob, state: dict[str, Any]) -> None:
    save_state(job.run, state)
    job.saved()


def save_weights(network: torch.nn.Module, path: Path) -> None:
    """Write a network's parameters and buffers as safetensors, atomically."""
    write_arrays(path, {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()})


def _check_precision(spec: RunSpec, device: torch.device) -> None:
    if spec.train.precision == "fp16" and device.type == "cpu":
        mistake = UserError("fp16 needs a GPU", where="train.precision", how="use bf16 or fp32")
        raise ConfigError([mistake])
