"""Verbs that make, measure and exchange runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anycodec.cli.app import Config, Device, Overrides, Run, app
from anycodec.errors import UserError


@app.command()
def train(
    config: Config,
    overrides: Overrides = None,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run.", show_default="runs/NAME")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in that folder.")] = False,
    init: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="train.init_from=RUN: start from its weights.", show_default=False),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="train.steps=N")] = None,
    val_every: Annotated[int | None, typer.Option(help="train.val_every=N")] = None,
    devices: Annotated[
        int | None, typer.Option(help="train.devices=N: share each batch among N GPUs, or processes.")
    ] = None,
    strategy: Annotated[
        Literal["ddp", "fsdp"] | None, typer.Option(help="train.strategy: what devices divide among them.")
    ] = None,
    num_nodes: Annotated[int | None, typer.Option(help="train.num_nodes=N: machines.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> int | None:
    """Train a codec or a generator."""
    from anycodec.workflows import training as workflow

    short = {
        "train.init_from": init,
        "train.steps": steps,
        "train.val_every": val_every,
        "train.devices": devices,
        "train.strategy": strategy,
        "train.num_nodes": num_nodes,
    }
    settings = [*(overrides or ()), *(f"{key}={value}" for key, value in short.items() if value is not None)]
    return workflow.run(config=config, overrides=settings, out=out, resume=resume, quiet=quiet)


@app.command()
def evaluate(
    run: Run,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUTS", help="Files or folders; the test split if none.", show_default=False
        ),
    ] = None,
    *,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="NETWORK",
            help="FID and KID of pictures in the features of efficientnet-lite0, dinov2 or an .onnx file.",
            show_default=False,
        ),
    ] = None,
    lpips: Annotated[
        Literal["alex", "vgg"] | None,
        typer.Option(help="LPIPS of pictures with this network (see anycodec weights).", show_default=False),
    ] = None,
    device: Device = "auto",
) -> int | None:
    """Measure rate and error of a run, beside k-means at the same rate."""
    from anycodec.workflows import evaluate as workflow

    return workflow.run(run=run, inputs=list(inputs or ()), device=device, features=features, lpips=lpips)


@app.command("evaluate-basecalls")
def evaluate_basecalls(
    run: Run,
    files: Annotated[list[Path], typer.Argument(metavar="POD5...", help="Files or folders.")],
    *,
    reference: Annotated[
        Path | None,
        typer.Option(metavar="FASTA", help="What the reads come from.", show_default="lossless calls alone"),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Another run for the same curve; may be given again."),
    ] = None,
    truncation: Annotated[
        str, typer.Option(metavar="N,N", help="Bits to drop, to compare with; '' = none.")
    ] = "3,4,5",
    max_error: Annotated[
        str,
        typer.Option(metavar="N,N", help="Largest errors in ADC counts, each a file within that bound."),
    ] = "",
    basecaller: Annotated[
        Literal["bonito-r941"], typer.Option(help="Network that calls (see anycodec weights).")
    ] = "bonito-r941",
    command: Annotated[
        str | None,
        typer.Option(
            metavar="'PROGRAM ... {pod5}'", help="Program that calls instead; prints FASTQ, FASTA or SAM."
        ),
    ] = None,
    min_samples: Annotated[int, typer.Option(min=0, help="Shorter reads are not called.")] = 0,
    device: Device = "auto",
) -> int | None:
    """Call bases before and after a codec, and compare."""
    from anycodec.workflows import basecalls as workflow

    return workflow.run(
        runs=[run, *(also or ())], inputs=files, reference=reference, basecaller=basecaller, command=command,
        truncation=workflow.parse_truncation(truncation), within=workflow.parse_within(max_error),
        min_samples=min_samples, device=device,
    )  # fmt: skip


@app.command()
def report(run: Run) -> int | None:
    """Write report.html and figures of an evaluated run again."""
    from anycodec.workflows import report as workflow

    return workflow.run(run)


@app.command("import")
def import_(
    source: Annotated[
        Literal[
            "taming", "totem", "vqvae2", "dalle", "diffusers", "lightningdit-vavae", "lightningdit", "dome272"
        ],
        typer.Argument(metavar="SOURCE", help="Whose weights.", show_default=False),
    ],
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="WEIGHTS",
            help="Safetensors file, PyTorch checkpoint, or folder of diffusers.",
            show_default=False,
        ),
    ],
    overrides: Overrides = None,
    *,
    config: Annotated[
        Path | None, typer.Option(help="The YAML or JSON that was published with them.")
    ] = None,
    data: Annotated[
        Literal["pod5", "table", "array", "image", "video"] | None,
        typer.Option(help="data.type of the files it is for.", show_default="what it was trained on"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run.", show_default="runs/SOURCE")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the run in that folder.")] = False,
) -> int | None:
    """Make a run of published weights."""
    if source == "lightningdit":
        from anycodec.workflows import import_generator

        if data is not None:
            raise UserError("a generator is for latents, not for files", where="--data", how="leave it out")
        return import_generator.run(
            source, weights, overrides=overrides or [], config=config, out=out, force=force
        )
    from anycodec.workflows import import_ as workflow

    return workflow.run(
        source=source, weights=weights, overrides=overrides or [], config=config, data=data, out=out,
        force=force,
    )  # fmt: skip


@app.command()
def export(
    run: Run,
    *,
    to: Annotated[Literal["diffusers"], typer.Option(help="The library that shall read it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.", show_default=False)],
) -> int | None:
    """Write a run's codec for another library."""
    from anycodec.workflows import export as workflow

    return workflow.run(run=run, to=to, out=out)
