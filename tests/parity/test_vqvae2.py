"""Our vqvae2 with vvvm23's weights gives its latents, tokens, pictures, gradients and averages."""

import pytest
import torch

from anycodec.config.codec import Vqvae2Spec
from anycodec.errors import WeightsError
from anycodec.torch.codecs import make_codec
from anycodec.torch.importers import make_importer
from parity.goldens import assert_equal_to_scale, imported, load_golden

RATES = {"2level": (4, 2), "3level": (4, 2, 2)}


@pytest.fixture(params=RATES)
def case(request):
    weights, io = load_golden(f"03_vqvae2_{request.param}")
    return imported("vqvae2", weights), io, RATES[request.param]


@pytest.fixture(params=["eval", "train"])
def mode(request):
    return request.param


def seen(module, x, codec):
    """What a module gives while the codec works on x, and the codec's output."""
    found = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    out = codec(x)
    handle.remove()
    return found[0], out


def test_forward(case, mode):
    codec, io, rates = case
    codec.train(mode == "train")
    assert len(codec.codebook_sizes) == len(rates)
    state = {name: value.clone() for name, value in codec.state_dict().items()}
    total = 0.0
    for level in range(len(rates)):
        parts = {
            f"enc{level}": codec.encoders[level],
            f"z_level{level}": codec.quant_convs[level],
            f"dec_level{level}": codec.decoders[level],
        }
        for name, module in parts.items():
            codec.load_state_dict(state)
            found, out = seen(module, io["in.x"], codec)
            assert_equal_to_scale(found, io[f"out.{mode}.{name}"])
        assert torch.equal(out.tokens[level], io[f"out.{mode}.indices_level{level}"])
        total = total + 0.25 * io[f"out.{mode}.diff_level{level}"]
    assert_equal_to_scale(out.reconstruction, io[f"out.{mode}.recon"])
    assert_equal_to_scale(sum(out.losses.values()), total)


def test_decoding_tokens(case):
    codec, io, rates = case
    tokens = tuple(io[f"out.eval.indices_level{level}"] for level in range(len(rates)))
    assert_equal_to_scale(codec.decode(tokens), io["out.eval.decode_codes"])


def test_gradients(case, mode):
    """The golden objective has the commitment terms without their beta of 1/4."""
    codec, io, _ = case
    codec.train(mode == "train")
    x = io["in.x"].requires_grad_()
    out = codec(x)
    ((out.reconstruction * io["in.R"]).sum() + 4 * sum(out.losses.values())).backward()
    assert_equal_to_scale(x.grad, io[f"out.{mode}.grad_x"])
    assert_equal_to_scale(codec.encoders[0].down[0][0].weight.grad, io[f"out.{mode}.grad_first_conv"])
    assert_equal_to_scale(codec.quant_convs[-1].weight.grad, io[f"out.{mode}.grad_top_conv_in"])


def test_gradients_of_the_loss(case, mode):
    codec, io, _ = case
    codec.train(mode == "train")
    out = codec(io["in.x"])
    loss = torch.nn.functional.mse_loss(out.reconstruction, io["in.x"]) + sum(out.losses.values())
    assert_equal_to_scale(loss, io[f"out.{mode}.loss"])
    loss.backward()
    first, last = codec.encoders[0].down[0][0], codec.decoders[0].conv_in
    assert_equal_to_scale(first.weight.grad, io[f"out.{mode}.loss.grad_first_conv"])
    assert_equal_to_scale(last.weight.grad, io[f"out.{mode}.loss.grad_decoder0_first_conv"])


def test_averages_after_a_training_step(case):
    codec, io, rates = case
    codec.train()(io["in.x"])
    after = {name.removeprefix("out.train.after."): v for name, v in io.items() if ".after." in name}
    for level in range(len(rates)):
        quantizer = codec.quantizers[level]
        assert_equal_to_scale(quantizer.codebook.T, after[f"codebooks.{level}.embed"])
        assert_equal_to_scale(quantizer.counts, after[f"codebooks.{level}.cluster_size"])
        assert_equal_to_scale(quantizer.sums.T, after[f"codebooks.{level}.embed_avg"])
    norm = codec.encoders[0].down[0][1]
    assert_equal_to_scale(norm.running_mean, after["encoders.0.layers.0.1.running_mean"])
    assert_equal_to_scale(norm.running_var, after["encoders.0.layers.0.1.running_var"])


@pytest.mark.parametrize(
    ("rates", "res_channels", "parameters"), [((8, 4, 2), 32, 3_390_920), ((4, 2), 64, 2_281_195)]
)
def test_published_sizes(rates, res_channels, parameters):
    with torch.device("meta"):
        codec = make_codec(Vqvae2Spec(rates=rates, res_channels=res_channels), in_channels=3)
    assert sum(p.numel() for p in codec.parameters()) == parameters


def test_other_tensors_are_refused_by_name():
    weights, _ = load_golden("03_vqvae2_2level")
    weights["decoders.7.layers.0.bias"] = weights.pop("decoders.1.layers.0.bias")
    with pytest.raises(WeightsError) as raised:
        make_importer("vqvae2").codec_tensors(weights, None)
    assert "1 missing: decoders.1.layers.0.bias" in str(raised.value)
    assert "1 unknown: decoders.7.layers.0.bias" in str(raised.value)


def test_a_contradicting_configuration_is_refused():
    weights, _ = load_golden("03_vqvae2_2level")
    with pytest.raises(WeightsError, match=r"scaling_rates is \[8, 2\] in the configuration, \(4, 2\) in"):
        make_importer("vqvae2").codec_tensors(weights, {"scaling_rates": [8, 2], "nb_levels": 2})
