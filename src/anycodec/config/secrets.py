"""Keys that name a secret. A configuration is stored with the run and shared: it holds none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anycodec.config.source import Node
from anycodec.errors import UserError

_SECRET = re.compile(
    r"(.*[_-])?(api[_-]?key|(wandb|access|private|secret)[_-]?key|token|secret|passwd|password)", re.I
)


def is_secret(key: str) -> bool:
    """Whether a key names a secret (`api_key`, `wandb_key`, `hf_token`, `password`)."""
    return _SECRET.fullmatch(key) is not None


def remove_secrets(node: Node, prefix: str = "") -> Iterator[UserError]:
    """Take secrets out of the tree, in place, so that no message shows them; a mistake for each."""
    if isinstance(node.value, list):
        for item in node.value:
            yield from remove_secrets(item, prefix)
    if not isinstance(node.value, dict):
        return
    for name in [name for name in node.value if is_secret(name)]:
        yield UserError(
            f"`{prefix}{name}` is a secret: a configuration is stored and shared with its runs",
            where=node.value.pop(name).where,
            how="remove it, and set the environment variable (WANDB_API_KEY for Weights & Biases)",
        )
    for name, child in node.value.items():
        yield from remove_secrets(child, f"{prefix}{name}.")
