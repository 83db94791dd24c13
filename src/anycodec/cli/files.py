"""Verbs that compress, restore and look into files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anycodec.cli.app import BesideInput, Device, Run, app

WrittenBy = Annotated[
    Path | None,
    typer.Option("--run", help="The run that compressed them.", show_default="the one recorded in each file"),
]
CodingPrior = Annotated[
    Path | None,
    typer.Option("--prior", metavar="RUN", help="Learned prior that codes the tokens.", show_default=False),
]
NeededPrior = Annotated[
    Path | None,
    typer.Option(
        "--prior",
        metavar="RUN",
        help="The prior that coded them.",
        show_default="the one recorded in each file",
    ),
]
Reads = Annotated[
    str | None,
    typer.Option(metavar="ID,...|@LIST", help="These reads, series or pictures only.", show_default=False),
]
Rows = Annotated[
    str | None,
    typer.Option(
        metavar="A:B",
        help="Rows or samples A to B - 1 of each series or read; -100: is the end.",
        show_default=False,
    ),
]


@app.command()
def compress(
    run: Run,
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="Files or folders.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder to write into, or all.acz: one file of all.",
            show_default="beside each file",
        ),
    ] = None,
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
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="BITS", help="At most so many bits a sample, value or pixel (0.5bpp).", show_default=False
        ),
    ] = None,
    ratio: Annotated[
        float | None, typer.Option(metavar="R", help="At least R times smaller.", show_default=False)
    ] = None,
    quality: Annotated[
        float | None,
        typer.Option(
            metavar="DB", help="At least this PSNR, of series SNR, measured on a sample.", show_default=False
        ),
    ] = None,
    statistics: Annotated[
        Literal["exact", "coarse"],
        typer.Option(help="Means and scales of windows: rounded to take fewer bytes, or as they are."),
    ] = "coarse",
    prior: CodingPrior = None,
    device: Device = "auto",
) -> int | None:
    """Compress files into .acz files."""
    from anycodec.workflows import compress as workflow
    from anycodec.workflows.rate import make_target
    from anycodec.workflows.within_bound import make_bound

    bound = make_bound(max_error, unit, lossless=lossless)
    target = make_target(rate, ratio, quality, bound)
    return workflow.run(
        run=run,
        inputs=files,
        out=out,
        device=device,
        bound=bound,
        target=target,
        coarse=statistics == "coarse",
        prior=prior,
    )


@app.command()
def decompress(
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help=".acz files or folders of them.")],
    out: BesideInput = None,
    run: WrittenBy = None,
    *,
    reads: Reads = None,
    rows: Rows = None,
    frames: Annotated[
        str | None, typer.Option(metavar="A:B", help="These frames of a video only.", show_default=False)
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Restore what damaged files still hold; say what is missing.")
    ] = False,
    prior: NeededPrior = None,
    device: Device = "auto",
) -> int | None:
    """Restore native files from .acz files, or the parts of them that are asked for."""
    from anycodec.workflows import decompress as workflow
    from anycodec.workflows.parts import make_wanted

    wanted = make_wanted(reads, rows, frames, keep_going=keep_going)
    return workflow.run(files=files, out=out, run=run, device=device, wanted=wanted, prior=prior)


@app.command()
def cat(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An .acz file.")],
    *,
    reads: Reads = None,
    rows: Rows = None,
    frames: Annotated[
        str | None, typer.Option(metavar="A:B", help="These frames of a video only.", show_default=False)
    ] = None,
    form: Annotated[
        Literal["text", "npy", "raw"] | None,
        typer.Option(
            "--format", help="How values are written.", show_default="text for series and reads, else npy"
        ),
    ] = None,
    run: WrittenBy = None,
    prior: NeededPrior = None,
    device: Device = "auto",
) -> int | None:
    """Write the values of an .acz file to standard output: CSV of a table, a line a read."""
    from anycodec.workflows import cat as workflow
    from anycodec.workflows.parts import make_wanted

    wanted = make_wanted(reads, rows, frames)
    return workflow.run(path=file, run=run, device=device, wanted=wanted, form=form, prior=prior)


@app.command()
def append(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="An .acz file.")],
    files: Annotated[list[Path], typer.Argument(metavar="MORE", help="Native files or folders to add.")],
    run: WrittenBy = None,
    prior: NeededPrior = None,
    device: Device = "auto",
) -> int | None:
    """Add reads, pictures, or rows of a table, to an .acz file."""
    from anycodec.workflows import append as workflow

    return workflow.run(target=target, inputs=files, run=run, device=device, prior=prior)


@app.command()
def rd(
    run: Run,
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="Files or folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for rd.csv, rd.json and rd.png.")] = Path(
        "rd"
    ),
    device: Device = "auto",
) -> int | None:
    """Rate against distortion: what a run can be set to, beside the classics."""
    from anycodec.workflows import rd as workflow

    return workflow.run(run=run, inputs=files, out=out, device=device)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Data file, .acz file or run.")],
) -> int | None:
    """Show what is in a file or a run: codec, rate, sizes, statistics."""
    from anycodec.workflows import inspect as workflow

    return workflow.run(path=path)
