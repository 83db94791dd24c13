"""The contract of a quantizer: latents in, tokens and their values out (twin of torch's)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

TokenGrids = tuple[jax.Array, ...]
"""One int32 grid [B T] a level."""
Scalars = Mapping[str, jax.Array]


class Quantized(NamedTuple):
    """What a quantizer makes of latents.

    Attributes:
        values: [B T D], the codes in place of the latents; gradients pass straight through.
        tokens: one int32 grid [B T] a level; () where latents stay continuous.
        losses: weighted scalar terms by name, to be added to the training loss.
        stats: scalars to watch, as torch's.
    """

    values: jax.Array
    tokens: TokenGrids
    losses: Scalars
    stats: Scalars


class Quantizer(nnx.Module, ABC):
    """Latents [B T D] <-> tokens. Only a call with `train` changes state."""

    @property
    @abstractmethod
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes a level; () where latents stay continuous."""

    @abstractmethod
    def __call__(self, z: jax.Array, *, train: bool) -> Quantized:
        """Quantise latents [B T D]."""

    def squash(self, z: jax.Array) -> jax.Array:
        """Latents in the range that codes can cover; as they are where that has no end."""
        return z

    @property
    def shrinkage(self) -> jax.Array:
        """How much smaller what it leaves is than what it got, [] or [D]; 1 where codes are learned."""
        return jnp.ones(())

    @property
    def lr_factor(self) -> float:
        """What multiplies the learning rate of its codes' parameters."""
        return 1.0

    @property
    def latents_wanted(self) -> int:
        """Latents that `start` would like before training; 0 = none."""
        return 0

    def start(self, latents: jax.Array) -> None:
        """Place the codes before the first training step, by latents [N D] of the untrained encoder."""

    @abstractmethod
    def lookup(self, tokens: TokenGrids) -> jax.Array:
        """Values [B T D] of tokens; equals those of a call that gave these tokens."""
