"""Verbs that make and divide data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anycodec.cli.app import app


@app.command()
def samples(
    kind: Annotated[
        Literal["nanopore", "series", "gait", "images", "video"],
        typer.Argument(metavar="KIND", help="What to write."),
    ],
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write into.", show_default=False)],
    seed: Annotated[int, typer.Option(min=0, help="The same seed writes the same files.")] = 0,
    size: Annotated[Literal["small", "full"], typer.Option(help="How much.")] = "full",
) -> int | None:
    """Write built-in sample data as real files."""
    from anycodec.workflows import samples as workflow

    return workflow.run(kind=kind, out=out, seed=seed, size=size)


@app.command()
def split(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of data.", show_default=False)],
    *,
    by: Annotated[
        Literal["time", "file", "signal", "class"],
        typer.Option(help="What stays whole: blocks of time, files, signals (reads) or classes."),
    ],
    ratios: Annotated[
        tuple[float, float, float], typer.Option(help="Shares of training, validation and test.")
    ] = (0.8, 0.1, 0.1),
    guard: Annotated[int, typer.Option(min=0, help="Samples, frames or files dropped at each border.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the shuffle.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="The manifest to write.")] = Path("manifest.json"),
    kind: Annotated[
        Literal["pod5", "table", "image", "video", "array"] | None,
        typer.Option("--type", help="data.type of the files.", show_default="found by their names"),
    ] = None,
) -> int | None:
    """Write train, validation and test lists, for data.split.type=manifest."""
    from anycodec.workflows import split as workflow

    return workflow.run(root=root, by=by, ratios=ratios, guard=guard, seed=seed, out=out, type=kind)
