"""The same network in both engines, with the same weights. Import jax by `importorskip` before this."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from anycodec.jax.weights import load_arrays, state_arrays

QUICK = {"xla_backend_optimization_level": 0}
"""Compiles small networks in a third of the time."""


def load_twin(twin, module):
    """Give the jax module the state of the torch one."""
    load_arrays(twin, {name: value.numpy() for name, value in module.state_dict().items()}, "torch")
    return twin


def windows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def difference(actual, expected):
    """The largest difference as a share of the largest value."""
    actual, expected = (np.asarray(x.detach() if torch.is_tensor(x) else x) for x in (actual, expected))
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-12)


def compiled(module, function):
    """`function(module)` as a function, compiled once; each call changes the state as it changes it."""
    graph, _ = nnx.split(module)

    @partial(jax.jit, compiler_options=QUICK)
    def run(state):
        module = nnx.merge(graph, state)
        return function(module), nnx.state(module)

    def call():
        out, state = run(nnx.state(module))
        nnx.update(module, state)
        return out

    return call


def called(module, function):
    """`function(module)`, compiled; the state is changed as it changes it."""
    return compiled(module, function)()


def gradients(module, value):
    """Gradients of `value(module)` with respect to every parameter, by name; and the value."""
    graph, parameters, rest = nnx.split(module, nnx.Param, ...)

    def run(parameters):
        return value(nnx.merge(graph, parameters, rest, copy=True))

    found, slopes = jax.jit(jax.value_and_grad(run), compiler_options=QUICK)(parameters)
    paths = nnx.to_flat_state(slopes)
    return {".".join(map(str, path)): np.asarray(slope[...]) for path, slope in paths}, found


def torch_gradients(module, value):
    """The torch module's, zero where a parameter is not used."""
    parameters = dict(module.named_parameters())
    slopes = torch.autograd.grad(value, list(parameters.values()), allow_unused=True, retain_graph=True)
    pairs = zip(parameters, slopes, parameters.values(), strict=True)
    return {name: (torch.zeros_like(p) if g is None else g).numpy() for name, g, p in pairs}


def assert_equal_gradients(module, value, twin, twin_value, tolerance=1e-3):
    """By the norm of each parameter's gradient; those that are zero in exact arithmetic by that of all."""
    expected = torch_gradients(module, value)
    found, found_value = gradients(twin, twin_value)
    assert found.keys() == expected.keys()
    assert difference(found_value, value) < tolerance
    whole = np.sqrt(sum(np.square(slope).sum() for slope in expected.values()))
    for name, slope in expected.items():
        error = np.linalg.norm(found[name] - slope)
        assert error <= tolerance * max(np.linalg.norm(slope), tolerance * whole), name


def assert_equal_state(twin, module, tolerance=1e-5):
    found = state_arrays(twin)
    expected = {name: value.numpy() for name, value in module.state_dict().items()}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert difference(found[name], value) <= tolerance, name


def to_jax(x):
    return jnp.asarray(np.asarray(x))
