"""The command line: parsing only, one function a verb; the order here is that of `--help`.

Nothing heavy is imported before a verb runs, so that `--help` is quick. Exit codes: `anycodec.exits`.
"""

from __future__ import annotations

import os
import sys
import traceback

import typer

from anycodec import __version__
from anycodec.cli.app import app
from anycodec.exits import EXIT_BUG

# isort: off
from anycodec.cli import data, runs, generation, augmentation, sweep, files, token_sets, settings, machine

# isort: on

__all__ = [
    "app",
    "augmentation",
    "data",
    "files",
    "generation",
    "machine",
    "main",
    "runs",
    "settings",
    "sweep",
    "token_sets",
]


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        app()
    except BrokenPipeError:
        _leave_quietly()
    except Exception as error:
        traceback.print_exc()
        typer.echo(
            f"\nThis is a bug in anycodec {__version__} ({type(error).__name__}). "
            "Please report it with the lines above and the command.",
            err=True,
        )
        raise SystemExit(EXIT_BUG) from error
    finally:
        _flush()


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_quietly()


def _leave_quietly() -> None:
    """The reader of our output is gone (`| head`): let nothing more be written at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
