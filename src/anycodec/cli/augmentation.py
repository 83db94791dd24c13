"""Verbs that augment data and judge generated samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anycodec.cli.app import Config, Device, Overrides, app

Real = Annotated[
    Path, typer.Option(help="Folder of real files, classes in folders of their own.", show_default=False)
]
Synthetic = Annotated[
    Path, typer.Option(help="Folder of generated files, in folders of the same names.", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write.", show_default=False)]
SplitManifest = Annotated[
    Path | None,
    typer.Option(
        "--split",
        metavar="MANIFEST",
        help="A split of the real data (anycodec split), the one that the codec and the generator had.",
        show_default="blocks of time",
    ),
]
Ratios = Annotated[
    tuple[float, float, float], typer.Option(help="Blocks of training, validation and test, without --split.")
]
Guard = Annotated[int, typer.Option(min=0, help="Files or samples dropped between blocks, without --split.")]
Kind = Annotated[
    Literal["pod5", "table", "array", "image"] | None,
    typer.Option("--type", help="Kind of files (data.type).", show_default="what is found"),
]
Window = Annotated[
    int | None,
    typer.Option(min=4, help="Samples a window of series.", show_default="the shortest generated one"),
]
Gait = Annotated[
    bool | None,
    typer.Option(
        "--gait/--no-gait",
        help="Compare torso line, envelopes and cadence.",
        show_default="where pictures are in jet colours",
    ),
]
Seeds = Annotated[int, typer.Option(min=1, help="Repetitions with other samples and other weights.")]
Steps = Annotated[int, typer.Option(min=1, help="Optimizer steps of each classifier.")]


@app.command("evaluate-augmentation")
def evaluate_augmentation(
    *,
    real: Real,
    synthetic: Synthetic,
    out: Out,
    split: SplitManifest = None,
    ratios: Ratios = (0.6, 0.1, 0.3),
    guard: Guard = 4,
    budgets: Annotated[str, typer.Option(metavar="N,N", help="Real samples a class.")] = "5,10,20,50",
    multiples: Annotated[
        str, typer.Option(metavar="N,N", help="Generated samples for each real one.")
    ] = "1,2,4",
    seeds: Seeds = 3,
    filter: Annotated[  # noqa: A002
        Literal["none", "confidence", "density"],
        typer.Option(help="Use the generated samples of highest class confidence or density alone."),
    ] = "none",
    keep: Annotated[float, typer.Option(min=0.01, max=1, help="Share that the filter keeps.")] = 0.5,
    steps: Steps = 300,
    generator_saw: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Real samples a class that the generator was trained on.",
            show_default="those of the training part",
        ),
    ] = None,
    kind: Kind = None,
    window: Window = None,
    gait: Gait = None,
    device: Device = "auto",
) -> int | None:
    """Train classifiers on real, augmented and generated samples, and compare."""
    from anycodec.workflows import evaluate_augmentation as workflow

    inputs = workflow.Inputs(
        real=real, synthetic=synthetic, manifest=split, ratios=ratios, guard=guard, type=kind, window=window,
        saw=generator_saw, gait=gait,
    )  # fmt: skip
    spec = workflow.make_spec(
        budgets=budgets, multiples=multiples, seeds=seeds, filter=filter, keep=keep, steps=steps
    )
    return workflow.run(inputs, spec, out, labelled=True, device=device)


@app.command("evaluate-generation")
def evaluate_generation(
    *,
    real: Real,
    synthetic: Synthetic,
    out: Out,
    split: SplitManifest = None,
    ratios: Ratios = (0.6, 0.1, 0.3),
    guard: Guard = 4,
    seeds: Seeds = 3,
    steps: Steps = 300,
    kind: Kind = None,
    window: Window = None,
    gait: Gait = None,
    device: Device = "auto",
) -> int | None:
    """Compare generated with real samples as sets; no classes needed."""
    from anycodec.workflows import evaluate_augmentation as workflow

    inputs = workflow.Inputs(
        real=real, synthetic=synthetic, manifest=split, ratios=ratios, guard=guard, type=kind, window=window,
        gait=gait,
    )  # fmt: skip
    return workflow.run(
        inputs, workflow.make_spec(seeds=seeds, steps=steps), out, labelled=False, device=device
    )


@app.command()
def augment(
    config: Config,
    overrides: Overrides = None,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of everything.", show_default="runs/NAME")
    ] = None,
    skip_codec: Annotated[bool, typer.Option("--skip-codec", help="Take the codec that is there.")] = False,
    skip_latents: Annotated[
        bool, typer.Option("--skip-latents", help="Take the latents that are there.")
    ] = False,
    skip_generator: Annotated[
        bool, typer.Option("--skip-generator", help="Take the generator that is there.")
    ] = False,
    skip_sample: Annotated[
        bool, typer.Option("--skip-sample", help="Take the samples that are there.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Run again what is not skipped.")] = False,
    max_epochs: Annotated[
        int | None, typer.Option(min=1, help="Length of both trainings.", show_default="their train.steps")
    ] = None,
    samples_per_class: Annotated[int | None, typer.Option(min=2, help="augmentation.per_class=N")] = None,
    precision: Annotated[
        Literal["fp32", "bf16"] | None,
        typer.Option(help="Of both trainings and of drawing.", show_default="as configured"),
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(min=1, help="Share the batches of both trainings among N GPUs, or processes."),
    ] = None,
    strategy: Annotated[
        Literal["ddp", "fsdp"] | None,
        typer.Option(help="What devices divide: batches, or the codec's weights too."),
    ] = None,
    device: Device = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> int | None:
    """Real data to a judged generator: split, codec, latents, generator, samples, evaluation, report."""
    from anycodec.workflows import augment as workflow

    short = {
        "augmentation.per_class": samples_per_class,
        "codec.train.precision": precision,
        "generator.train.precision": precision,
        "augmentation.precision": precision,
        "codec.train.devices": devices,
        "generator.train.devices": devices,
        "codec.train.strategy": strategy,
        "generator.train.strategy": strategy and "ddp",
    }
    skipped = {
        "codec": skip_codec,
        "latents": skip_latents,
        "generator": skip_generator,
        "sample": skip_sample,
    }
    options = workflow.Options(
        skip=[name for name, wanted in skipped.items() if wanted],
        force=force, max_epochs=max_epochs, device=device, quiet=quiet,
    )  # fmt: skip
    settings = [*(overrides or ()), *(f"{key}={value}" for key, value in short.items() if value is not None)]
    return workflow.run(config, settings, out, options)
