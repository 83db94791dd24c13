"""Verbs of token sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anycodec.cli.app import Device, Run, TokenSet, app, tokens_app


@app.command()
def tokenize(
    run: Run,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUTS", help="Folders, files or patterns.", show_default=False)
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the shards.", show_default=False)],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes at a time.", show_default="one a processor")
    ] = None,
    shard_size: Annotated[str, typer.Option(help="Native files a shard, in bytes.")] = "256MB",
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="What runs the workers: this machine, or a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster.", show_default="a Ray of this machine")
    ] = None,
    device: Device = "auto",
) -> int | None:
    """Write the tokens of a tree of files as Parquet; the same command continues a stopped job."""
    from anycodec.workflows import tokenize as workflow

    executor = workflow.make_executor(engine, address, workers, device)
    return workflow.run(run, inputs, out, device=device, shard_size=shard_size, executor=executor)


@app.command()
def detokenize(
    folder: TokenSet,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into.", show_default=False)],
    run: Annotated[
        Path | None, typer.Option(help="The run that wrote them.", show_default="the one recorded in the set")
    ] = None,
    device: Device = "auto",
) -> int | None:
    """Restore native files from a token set."""
    from anycodec.workflows import detokenize as workflow

    return workflow.run(folder, out, run, device)


@app.command()
def pack(
    folder: TokenSet,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .bin to write.", show_default=False)],
    order: Annotated[
        Literal["interleaved", "levels"],
        typer.Option(help="Levels of a window cell by cell, or one after the other."),
    ] = "interleaved",
    eos: Annotated[bool, typer.Option("--eos", help="End each signal with a token of its own.")] = False,
) -> int | None:
    """Write a token set as one flat file (.bin, .idx) to train language models on."""
    from anycodec.workflows import pack as workflow

    return workflow.run(folder, out, order=order, eos=eos)


@tokens_app.command("stats")
def tokens_stats(folder: TokenSet) -> int | None:
    """Counts, and how each level uses its codes."""
    from anycodec.workflows import tokens as workflow

    return workflow.stats(folder)


@tokens_app.command("head")
def tokens_head(
    folder: TokenSet,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="How many.")] = 5,
) -> int | None:
    """The first rows."""
    from anycodec.workflows import tokens as workflow

    return workflow.head(folder, rows)


@tokens_app.command("verify")
def tokens_verify(folder: TokenSet) -> int | None:
    """Check every byte and every row."""
    from anycodec.workflows import tokens as workflow

    return workflow.verify(folder)
