"""Where parameters start: as torch's layers do. Drawn by NumPy, which has nothing to compile."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.random import Generator
from numpy.typing import NDArray

Parameter = nnx.Param[jax.Array]


def uniform(rng: Generator, shape: Sequence[int], fan_in: int) -> Parameter:
    """U(-a, a) with a = 1 / sqrt(fan in)."""
    bound = fan_in**-0.5
    return parameter(rng.uniform(-bound, bound, tuple(shape)))


def normal(rng: Generator, shape: Sequence[int], mean: float, deviation: float) -> Parameter:
    """N(mean, deviation^2)."""
    return parameter(rng.normal(mean, deviation, tuple(shape)))


def orthogonal(rng: Generator, rows: int, columns: int) -> Parameter:
    """Orthonormal rows or columns, whichever are fewer, uniform over all such bases (Mezzadri 2007)."""
    q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
    basis = q * np.sign(np.diag(r))
    return parameter(basis if rows >= columns else basis.T)


def constant(value: float, size: int) -> Parameter:
    """The same value everywhere, [size]."""
    return parameter(np.full(size, value))


def parameter(values: NDArray[np.float64]) -> Parameter:
    """A parameter in float32."""
    return nnx.Param(jnp.array(values, jnp.float32))
