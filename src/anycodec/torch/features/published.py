"""Published weights that were converted into the cache."""

from __future__ import annotations

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from anycodec.cache import require_weights
from anycodec.errors import WeightsError


def load_published(network: nn.Module, name: str) -> None:
    """Give a network the weights called `name`, as `anycodec weights` calls them.

    Raises:
        WeightsError: they are not there, or the file is damaged; says which command mends it.
    """
    path = require_weights(name)
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise WeightsError(
            f"damaged weights: {str(error).splitlines()[0]}",
            where=str(path),
            how=f"anycodec weights get {name} writes them again",
        ) from error
