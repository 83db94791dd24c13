"""Our diffusion transformer with LightningDiT's weights gives its velocities, gradients and samples."""

import pytest
import torch

from anycodec.config.process import FlowSpec
from anycodec.config.sampler import EulerSpec
from anycodec.errors import WeightsError
from anycodec.torch.generators import make_generator
from anycodec.torch.generators.guidance import guided
from anycodec.torch.importers import make_generator_importer
from anycodec.torch.layers.patches import split_patches
from anycodec.torch.processes import make_process
from parity.goldens import assert_equal_to_scale, load_golden

CASES = ("base", "plain", "qknorm_woshift")
SCALE, START, STEPS, SHIFT = 2.5, 0.3, 5, 0.3
GUIDED_CHANNELS = 3


def imported(weights, config=None):
    found = make_generator_importer("lightningdit").generator_tensors(weights, config)
    generator = make_generator(found.spec, found.shape, found.n_classes)
    generator.load_state_dict({name: torch.from_numpy(array) for name, array in found.tensors.items()})
    return generator.eval()


@pytest.fixture(params=CASES)
def case(request):
    weights, io = load_golden(f"06_lightningdit_{request.param}")
    return imported(weights), io


def test_architecture():
    weights, _ = load_golden("06_lightningdit_plain")
    found = make_generator_importer("lightningdit").generator_tensors(weights, None)
    assert found.shape == (4, 8, 8)
    assert found.n_classes == 10
    assert found.spec.dimensions == (64, 2, 4)
    assert found.spec.patch_size == 2
    assert found.spec.mlp_ratio == 4
    assert found.spec.qk_norm
    assert not found.spec.swiglu
    assert not found.spec.rope
    assert found.spec.norm == "layer"


def test_parts(case):
    generator, io = case
    assert_equal_to_scale(
        generator.embed(split_patches(io["in.x"], generator.patch_size)), io["out.hidden.tokens"]
    )
    assert_equal_to_scale(generator.time(io["in.t"]), io["out.hidden.t_emb"])
    assert_equal_to_scale(generator.label(io["in.y"]), io["out.hidden.y_emb"])
    seen = []
    generator.blocks[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    generator(io["in.x"], io["in.t"], io["in.y"])
    assert_equal_to_scale(seen[0], io["out.hidden.block0"])


def test_velocities(case):
    generator, io = case
    assert_equal_to_scale(generator(io["in.x"], io["in.t"], io["in.y"]), io["out.v"])
    null = torch.full_like(io["in.y"], generator.n_classes)
    assert_equal_to_scale(generator(io["in.x"], io["in.t"], null), io["out.v_null"])


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients(case, checkpointing):
    generator, io = case
    generator.gradient_checkpointing = checkpointing
    x = io["in.x"].clone().requires_grad_()
    (generator(x, io["in.t"], io["in.y"]) * io["in.R"]).sum().backward()
    assert_equal_to_scale(x.grad, io["out.grad_x"])
    assert_equal_to_scale(generator.blocks[0].attention.qkv.weight.grad, io["out.grad_qkv_weight_block0"])
    assert_equal_to_scale(generator.label.weight.grad, io["out.grad_label_table"])


@pytest.mark.parametrize("time", [0.15, 0.3, 0.65])
@pytest.mark.parametrize(("name", "start"), [("cfg_nointerval", 0.0), ("cfg_interval", START)])
def test_guidance(case, time, name, start):
    """The original guides the first three channels; both halves of its batch hold the same sample."""
    generator, io = case
    # START is not a float32: the original compares in it
    predict = guided(generator, io["in.y"], SCALE, (float(torch.tensor(start)), 1.0), GUIDED_CHANNELS)
    with torch.no_grad():
        found = predict(io["in.x"], torch.full((3,), time))
    assert_equal_to_scale(found, io[f"out.{name}.t{time:.3f}"][:3])


def test_samples(case):
    generator, io = case
    sampler = EulerSpec(steps=STEPS, shift=SHIFT)
    flow = make_process(FlowSpec())
    for name, scale in (("traj_nocfg", 1.0), ("traj_cfg", SCALE)):
        predict = guided(generator, io["in.y"], scale, (START, 1.0), GUIDED_CHANNELS)
        assert_equal_to_scale(flow.sample(predict, io["in.z0"], sampler), io[f"out.{name}"][-1])


class TestRefusals:
    """Weights that are not those of a LightningDiT."""

    @pytest.fixture
    def weights(self):
        return load_golden("06_lightningdit_base")[0]

    def test_missing_block_tensor(self, weights):
        del weights["blocks.1.mlp.w3.bias"]
        with pytest.raises(WeightsError, match=r"1 missing: blocks\.1\.mlp\.w3\.bias"):
            imported(weights)

    def test_missing_modulation(self, weights):
        del weights["blocks.1.adaLN_modulation.1.bias"]
        with pytest.raises(WeightsError, match=r"adaLN_modulation\.1"):
            imported(weights)

    def test_unknown_tensor(self, weights):
        weights["blocks.0.extra"] = torch.zeros(1)
        with pytest.raises(WeightsError, match=r"1 unknown: blocks\.0\.extra"):
            imported(weights)

    def test_other_positions(self, weights):
        weights["pos_embed"] = torch.zeros_like(weights["pos_embed"])
        with pytest.raises(WeightsError, match="other positions"):
            imported(weights)

    def test_another_model(self):
        with pytest.raises(WeightsError, match=r"they lack x_embedder\.proj\.weight"):
            imported({"encoder.conv_in.weight": torch.zeros(3, 3, 3, 3)})

    def test_contradicting_configuration(self, weights):
        with pytest.raises(WeightsError, match="use_qknorm is True in the configuration, False in"):
            imported(weights, {"model": {"use_qknorm": True}})

    def test_heads_that_nothing_tells(self, weights):
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith("feat_rope")}
        with pytest.raises(WeightsError, match="number of attention heads"):
            imported(weights)
        config = {"model": {"model_type": "LightningDiT-XL/1"}}
        assert imported(weights, config).blocks[0].attention.heads == 16
