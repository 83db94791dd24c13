"""The jax engine's SimVQGAN is the torch engine's: latents, tokens, windows, terms, gradients, weights."""

import numpy as np
import pytest
import torch

pytest.importorskip("jax", reason="the extra jax is not installed")

from anycodec.checkpoint import read_arrays, write_arrays
from anycodec.config.codec import SimVqganSpec
from anycodec.config.quantizer import EmaSpec, FsqSpec, NoneSpec, ResidualSpec, SimVqSpec, VqSpec
from anycodec.errors import RunError
from anycodec.jax.codecs import make_codec as make_twin
from anycodec.jax.weights import load_arrays, lr_factors, state_arrays
from anycodec.torch.codecs import make_codec
from parity.jax_twins import (
    assert_equal_gradients,
    assert_equal_state,
    called,
    compiled,
    difference,
    load_twin,
    to_jax,
    windows,
)

SMALL = {
    "base_channels": 8,
    "channels": (8, 12),
    "strides": (2, 3),
    "res_blocks": 1,
    "mid_blocks": 1,
    "latent_channels": 6,
    "norm_groups": 4,
}
FEW = SMALL | {"res_blocks": 0}
BOOK = {"codebook_size": 16, "kmeans_init": False, "restart_after": 0}
CODECS = {
    "as the seed": SimVqganSpec(**SMALL, output_activation="tanh", quantizer=SimVqSpec(**BOOK)),
    "residual behind a linear path": SimVqganSpec(
        **FEW, patch_skip=True, quantizer=ResidualSpec(stages=2, quantizer=EmaSpec(**BOOK))
    ),
    "fsq behind a strided stem": SimVqganSpec(**FEW, stem_stride=4, quantizer=FsqSpec()),
    "no blocks, groups that don't divide": SimVqganSpec(**FEW | {"norm_groups": 5}, quantizer=NoneSpec()),
}


@pytest.fixture(params=CODECS, scope="module")
def twins(request):
    torch.manual_seed(0)
    spec = CODECS[request.param]
    codec = make_codec(spec, 2).eval()
    if codec.patches is not None:  # they start at zero, where the networks would not be seen
        for layer in (codec.encoder.quant_conv, codec.decoder.conv_out):
            layer.reset_parameters()
    return codec, load_twin(make_twin(spec, 2, seed=1), codec)


def test_the_same_of_the_same_weights(twins):
    codec, twin = twins
    x = windows(2, 2, 120)
    with torch.no_grad():
        expected = codec(torch.from_numpy(x))
        latents = codec._latents(torch.from_numpy(x)).movedim(1, -1)

    def everything(module):
        out = module(to_jax(x), train=False)
        if not out.tokens:
            return module.latents(to_jax(x)), out, (), out.reconstruction
        return module.latents(to_jax(x)), out, module.encode(to_jax(x)), module.decode(out.tokens)

    found_latents, out, tokens, decoded = called(twin, everything)
    assert difference(found_latents, latents) < 1e-4
    assert difference(out.reconstruction, expected.reconstruction) < 1e-4
    assert difference(decoded, expected.reconstruction) < 1e-4
    assert twin.codebook_sizes == codec.codebook_sizes
    assert twin.stride == codec.stride
    for grid, encoded, wanted in zip(out.tokens, tokens, expected.tokens, strict=True):
        assert np.array_equal(grid, wanted)
        assert np.array_equal(encoded, wanted)
    assert out.stats.keys() == expected.stats.keys()
    for name, value in expected.stats.items():
        assert float(out.stats[name]) == pytest.approx(float(value), rel=1e-5), name


def test_gradients(twins):
    codec, twin = twins
    x, pull = windows(2, 2, 120), windows(2, 2, 120, seed=1)
    out = codec(torch.from_numpy(x))
    value = (out.reconstruction * torch.from_numpy(pull)).sum() + sum(out.losses.values())

    def twin_value(module):
        found = module(to_jax(x), train=False)
        return (found.reconstruction * pull).sum() + sum(found.losses.values())

    assert_equal_gradients(codec, value, twin, twin_value)
    assert codec.last_layer() is dict(codec.named_parameters())[twin.last_layer()]


def test_weights_go_back(twins, tmp_path):
    codec, twin = twins
    write_arrays(tmp_path / "weights.safetensors", state_arrays(twin))
    arrays = read_arrays(tmp_path / "weights.safetensors")
    codec.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, strict=True)
    assert_equal_state(twin, codec, tolerance=0)


def test_training_changes_the_same_state():
    """A step with codes that are neither started nor restarted, which draw at random."""
    spec = SimVqganSpec(**FEW, quantizer=ResidualSpec(stages=2, shared=True, quantizer=EmaSpec(**BOOK)))
    torch.manual_seed(0)
    codec = make_codec(spec, 1)
    twin = load_twin(make_twin(spec, 1, seed=1), codec)
    x = windows(3, 1, 60)
    step = compiled(twin, lambda module: module(to_jax(x), train=True).reconstruction)
    for _ in range(2):
        codec.train()(torch.from_numpy(x))
        step()
    assert_equal_state(twin, codec)


def test_other_weights_are_listed():
    spec = CODECS["as the seed"]
    twin = make_twin(spec, 1, seed=0)
    arrays = state_arrays(twin)
    arrays["strange"] = arrays.pop("decoder.conv_out.bias")
    arrays["quantizer.frozen"] = arrays["quantizer.frozen"][:3]
    before = state_arrays(twin)
    with pytest.raises(RunError) as error:
        load_arrays(twin, arrays, "weights.safetensors")
    for part in ("missing decoder.conv_out.bias", "unknown strange", "quantizer.frozen is [3, 6], expected"):
        assert part in str(error.value)
    assert all(np.array_equal(before[name], value) for name, value in state_arrays(twin).items())


def test_learning_rates_of_codes():
    book = VqSpec(**BOOK, codebook_lr=0.5, code_dim=3)
    spec = SimVqganSpec(**SMALL, quantizer=book)
    assert lr_factors(make_twin(spec, 1, seed=0)) == {"quantizer.codebook": 0.5}
    spec = SimVqganSpec(
        **SMALL, quantizer=ResidualSpec(stages=2, quantizer=SimVqSpec(**BOOK, codebook_lr=0.1))
    )
    names = [f"quantizer.books.{i}.linear.{leaf}" for i in range(2) for leaf in ("weight", "bias")]
    assert lr_factors(make_twin(spec, 1, seed=0)) == dict.fromkeys(names, 0.1)


def test_windows_of_another_size_are_refused():
    twin = make_twin(CODECS["as the seed"], 1, seed=0)
    with pytest.raises(ValueError, match=r"a window of \(20,\) is no multiple of the codec's stride \(6,\)"):
        twin.encode(to_jax(windows(1, 1, 20)))


def test_half_precision_keeps_parameters_and_codes():
    """bfloat16 has 8 bits: latents differ by about 2^-8, parameters and values of codes don't."""
    spec = CODECS["no blocks, groups that don't divide"]
    whole, half = make_twin(spec, 1, seed=0), make_twin(spec, 1, seed=0, compute_dtype="bfloat16")
    assert {value.dtype.name for value in state_arrays(half).values()} == {"float32"}
    x = to_jax(windows(2, 1, 120))
    expected, found = (called(twin, lambda module: module.latents(x)) for twin in (whole, half))
    assert found.dtype == np.float32
    assert 1e-6 < difference(found, expected) < 0.1
