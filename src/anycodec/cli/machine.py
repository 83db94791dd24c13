"""Verbs for first steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anycodec.cli.app import app


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to work in.")] = Path("runs/demo"),
) -> int | None:
    """Sample data, training, compression, restoration and report in one go."""
    from anycodec.workflows import demo as workflow

    return workflow.run(out=out)


@app.command()
def doctor() -> int | None:
    """Show versions, devices and optional parts, and how to get what is missing."""
    from anycodec.workflows import doctor as workflow

    return workflow.run()
