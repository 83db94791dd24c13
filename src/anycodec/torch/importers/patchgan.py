"""The discriminator beside a codec of taming (`taming/modules/discriminator/model.py`, after pix2pix).

One sequence: convolution, LeakyReLU, then n times (convolution, normalisation, LeakyReLU), convolution.

    0          2+3k, k < n       3+3k               2+3n
    layers.0   layers.k+1.conv   layers.k+1.norm    head
"""

from __future__ import annotations

import re

from anycodec.config.adversarial import AdversarialSpec
from anycodec.config.discriminator import PatchGanSpec
from anycodec.engine import ImportedDiscriminator
from anycodec.torch.discriminators import make_discriminator
from anycodec.torch.importers.base import Config, Tensors, adopt, require, section

PREFIX = "loss.discriminator.main."


def patchgan(tensors: Tensors, in_channels: int, config: Config | None) -> ImportedDiscriminator | None:
    """The discriminator of pictures with so many channels, None where there is none.

    It has learned already: its term counts from the first step on.

    Raises:
        WeightsError: it is another one.
    """
    own = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
    if not own:
        return None
    require(own, "0.weight", "2.weight", "3.bias" if "3.bias" in own else "3.loc", "5.weight")
    layers = max(int(found[0]) for name in own if (found := re.match(r"\d+", name))) // 3
    norm = "actnorm" if "3.loc" in own else "batch"
    spec = PatchGanSpec(base_channels=len(own["0.weight"]), layers=layers, norm=norm)
    state = adopt(make_discriminator(spec, in_channels, dims=2), own, _names(layers))
    loss = section(config, "model", "params", "lossconfig", "params")
    return ImportedDiscriminator(
        spec=AdversarialSpec(
            discriminator=spec,
            objective="vanilla" if loss.get("disc_loss") == "vanilla" else "hinge",
            weight=_number(loss.get("disc_weight")) * _number(loss.get("disc_factor")),
            start=0,
            lead=0,
            ramp=0,
        ),
        tensors=state,
    )


def _names(layers: int) -> dict[str, str]:
    """Ours -> theirs."""
    names = {"layers.0.conv": "0", "head": f"{3 * layers + 2}"}
    for n in range(1, layers + 1):
        norm = f"layers.{n}.norm"
        names |= {f"layers.{n}.conv": f"{3 * n - 1}", norm: f"{3 * n}"}
        names |= {f"{norm}.shift": f"{3 * n}.loc", f"{norm}.initialised": f"{3 * n}.initialized"}
    return names


def _number(setting: object) -> float:
    """A factor of a configuration; taming's default is 1."""
    return float(setting) if isinstance(setting, int | float) else 1.0
