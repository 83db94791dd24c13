"""The terminal that workflows print to."""

from __future__ import annotations

from rich.console import Console

out = Console(highlight=False, soft_wrap=True)
"""Results and next steps; errors go to standard error in `anycodec.cli`."""
