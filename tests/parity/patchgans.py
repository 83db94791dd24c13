"""Weights of published PatchGANs in our discriminator."""

from anycodec.config.discriminator import PatchGanSpec
from anycodec.torch.discriminators import make_discriminator

ACTNORM = {"loc": "shift", "initialized": "initialised"}


def published_patchgan(tensors, prefix="main.", **settings):
    """taming's NLayerDiscriminator: one sequence of conv, LeakyReLU, then (conv, norm, LeakyReLU), conv."""
    tensors = {
        name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)
    }
    spec = PatchGanSpec(**settings)
    modules = {0: "layers.0.conv", 3 * spec.layers + 2: "head"}
    for n in range(1, spec.layers + 1):
        modules |= {3 * n - 1: f"layers.{n}.conv", 3 * n: f"layers.{n}.norm"}
    state = {}
    for name, tensor in tensors.items():
        index, leaf = name.split(".")
        is_actnorm = leaf in ("loc", "scale", "initialized")
        state[f"{modules[int(index)]}.{ACTNORM.get(leaf, leaf)}"] = tensor.squeeze() if is_actnorm else tensor
    discriminator = make_discriminator(spec, tensors["0.weight"].shape[1], dims=2)
    discriminator.load_state_dict(state)
    return discriminator
