"""Errors that a user can cause: what is wrong, where, and how to mend it.

Everything the command line reports with exit code 2 derives from `UserError`.
Anything else that escapes is a bug in anycodec.
"""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """A mistake outside the program: a setting, a file, a missing part, a full disk.

    Args:
        what: what is wrong, one sentence.
        where: the place that holds the mistake: `file:line`, a config key, a path.
        how: how to mend it, one sentence or a command.
    """

    def __init__(self, what: str, *, where: str | None = None, how: str | None = None) -> None:
        self.what = what
        self.where = where
        self.how = how
        super().__init__(self.render())

    def render(self) -> str:
        """The message as shown on a terminal, one line a part."""
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.how:
            lines.append(f"  mend:  {self.how}")
        return "\n".join(lines)


_MISTAKES_SHOWN = 6
"""Mistakes of a configuration that fit one screen."""


class ConfigError(UserError):
    """One or more mistakes in a configuration, reported together."""

    def __init__(self, mistakes: Sequence[UserError]) -> None:
        self.mistakes = tuple(mistakes)
        noun = "mistake" if len(self.mistakes) == 1 else "mistakes"
        parts = [f"{len(self.mistakes)} {noun} in the configuration"]
        parts += [mistake.render() for mistake in self.mistakes[:_MISTAKES_SHOWN]]
        if len(self.mistakes) > _MISTAKES_SHOWN:
            parts.append(f"... and {len(self.mistakes) - _MISTAKES_SHOWN} more")
        super().__init__("\n".join(parts))


class DataError(UserError):
    """A source file or folder that is missing, empty, truncated, foreign or unusable."""


class FormatError(UserError):
    """An `.acz` file that is damaged, foreign, of another version or of another codec."""


class RunError(UserError):
    """A run directory that is missing, incomplete or does not fit what is asked of it."""


class WeightsError(UserError):
    """Published weights that are damaged, unsafe, or not those of the implementation that was named."""


class MissingExtra(UserError):
    """An optional part that is not installed."""

    def __init__(self, part: str, extra: str) -> None:
        super().__init__(
            f"{part} is not installed", how=f"pip install 'anycodec[{extra}]' (see `anycodec doctor`)"
        )


class ResourceError(UserError):
    """The machine ran out of something: memory, disk."""


class Notice(UserWarning):
    """A warning for the user: this works, but maybe not as meant. The command line shows it in one line."""
