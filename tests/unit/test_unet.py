"""The U-Net over latents of any size."""

import sys

import pytest
import torch
from diffusers import UNet2DModel
from pydantic import ValidationError

from anycodec.config.generator import UnetSpec
from anycodec.errors import MissingExtra
from anycodec.torch.generators import make_generator

SMALL = UnetSpec(channels=(16, 24), res_blocks=1, attention_levels=(1,), head_width=8)


def unet(shape=(3, 8, 8), n_classes=2, spec=SMALL):
    torch.manual_seed(0)
    return make_generator(spec, shape, n_classes).eval()


def arguments(shape, batch=4, n_classes=2):
    random = torch.Generator().manual_seed(1)
    x = torch.randn(batch, *shape, generator=random)
    return x, torch.linspace(0, 1, batch), torch.arange(batch) % (n_classes + 1)


def test_it_is_the_network_of_diffusers():
    ours = unet()
    theirs = UNet2DModel(
        in_channels=3,
        out_channels=3,
        block_out_channels=(16, 24),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=8,
        norm_num_groups=8,
        num_class_embeds=3,
    ).eval()
    theirs.load_state_dict({name.removeprefix("net."): value for name, value in ours.state_dict().items()})
    x, t, labels = arguments((3, 8, 8))
    expected = theirs(x, 1000 * t, class_labels=labels).sample
    torch.testing.assert_close(ours(x, t, labels), expected, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 7, 9), (1, 5, 2), (4, 2, 3)])
def test_any_grid_comes_back(shape):
    out = unet(shape)(*arguments(shape))
    assert out.shape == (4, *shape)
    assert torch.isfinite(out).all()


def test_a_padded_grid_is_padded_with_zeros_below_and_to_the_right():
    net = unet()
    x, t, labels = arguments((3, 7, 5))
    framed = torch.zeros(4, 3, 8, 6)
    framed[:, :, :7, :5] = x
    torch.testing.assert_close(net(x, t, labels), net(framed, t, labels)[:, :, :7, :5])


def test_time_and_label_matter_and_samples_do_not_mix():
    net = unet()
    x, t, labels = arguments((3, 8, 8))
    out = net(x, t, labels)
    assert (net(x, t + 0.1, labels) - out).abs().max() > 1e-4
    assert (net(x, t, (labels + 1) % 3) - out).abs().max() > 1e-4
    torch.testing.assert_close(net(x[2:3], t[2:3], labels[2:3]), out[2:3])


def test_without_classes_there_is_one_label():
    x, t, labels = arguments((3, 8, 8), n_classes=0)
    assert unet(n_classes=0)(x, t, labels).shape == x.shape


def test_its_settings_fit_together():
    for wrong, message in (
        ({"channels": (16, 20), "attention_levels": (), "head_width": 8}, "use a divisor of 20"),
        ({"channels": (32,), "attention_levels": (1,)}, "channels has 1 levels"),
    ):
        with pytest.raises(ValidationError, match=message):
            UnetSpec(**wrong)


def test_latents_that_it_cannot_take():
    three = UnetSpec(channels=(32, 32, 32))
    assert three.misfit((4, 4, 9)) is None
    small = three.misfit((4, 3, 9))
    assert small.setting == "channels"
    assert small.how == "give at most 2 channels"
    series = three.misfit((4, 64))
    assert series.setting == "type"
    assert "`type: dit`" in series.how


def test_without_diffusers_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtra, match=r"anycodec\[generate\]"):
        unet()
