"""Verbs that compress, restore and look into files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anycodec.cli.app import BesideInput, Device, Run, app


@app.command()
def compress(
    run: Run,
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="Files or folders.")],
    out: BesideInput = None,
    *,
    max_error: Annotated[
        float | None,
        typer.Option(
            metavar="E",
            help="No value restored is off by more than E: pA, level, the column's unit.",
            show_default=False,
        ),
    ] = None,
    unit: Annotated[
        Literal["native", "relative"],
        typer.Option(help="Unit of --max-error: the signal's, or the range of its values in a segment."),
    ] = "native",
    lossless: Annotated[bool, typer.Option("--lossless", help="Restore all values bit for bit.")] = False,
    device: Device = "auto",
) -> int | None:
    """Compress files into .acz files."""
    from anycodec.workflows import compress as workflow
    from anycodec.workflows.within_bound import make_bound

    bound = make_bound(max_error, unit, lossless=lossless)
    return workflow.run(run=run, inputs=files, out=out, device=device, bound=bound)


@app.command()
def decompress(
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help=".acz files or folders of them.")],
    out: BesideInput = None,
    run: Annotated[
        Path | None,
        typer.Option(help="The run that compressed them.", show_default="the one recorded in each file"),
    ] = None,
    device: Device = "auto",
) -> int | None:
    """Restore native files from .acz files."""
    from anycodec.workflows import decompress as workflow

    return workflow.run(files=files, out=out, run=run, device=device)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Data file, .acz file or run.")],
) -> int | None:
    """Show what is in a file or a run: codec, rate, sizes, statistics."""
    from anycodec.workflows import inspect as workflow

    return workflow.run(path=path)
