"""How the command line ends: exit codes and last words.

0 done, 1 a bug in anycodec, 2 something the user can mend, 130 interrupted, 143 ended by SIGTERM.
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from anycodec.errors import Notice, ResourceError, UserError

EXIT_BUG = 1
EXIT_USER = 2
EXIT_INTERRUPTED = 130

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_REFUSED_PATH = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)


class Verbs(TyperGroup):
    """Turns what a verb returns or raises into an exit code and a message."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with _plain_notices():
                code = super().invoke(ctx)
        except UserError as error:
            raise _failure(error) from error
        except KeyboardInterrupt as error:
            typer.echo("interrupted", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from error
        except MemoryError as error:
            raise _failure(_out_of_memory()) from error
        except OSError as error:
            known = _system_error(error)
            if known is None:
                raise
            raise _failure(known) from error
        if isinstance(code, int) and code:
            raise typer.Exit(code)
        return code


@contextmanager
def _plain_notices() -> Iterator[None]:
    """Notices without the line of code that gave them."""
    usual = warnings.formatwarning

    def formatted(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if issubclass(category, Notice):
            return f"warning: {message}\n"
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _failure(error: UserError) -> typer.Exit:
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(EXIT_USER)


def _out_of_memory() -> ResourceError:
    return ResourceError(
        "the machine has too little free memory for this",
        how="lower train.batch_size or the window, or use a machine with more",
    )


def _system_error(error: OSError) -> UserError | None:
    """What the system refused, None where only a bug can explain it."""
    where = str(error.filename) if error.filename else None
    if error.errno in _FULL_DISK:
        return ResourceError(
            "no space left on the disk", where=where, how="free some space or choose another folder"
        )
    if error.errno == errno.ENOMEM:
        return _out_of_memory()
    if error.errno in _REFUSED_PATH and where:
        return UserError(
            f"{error.strerror}".lower(), where=where, how="choose another path or mend its permissions"
        )
    if error.errno == errno.ENOENT and where and not Path(where).parent.exists():
        return UserError(
            "the folder is gone",
            where=str(Path(where).parent),
            how="it was removed or renamed while anycodec worked in it: put it back, or start again",
        )
    return None
