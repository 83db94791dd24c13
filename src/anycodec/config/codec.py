"""Any codec's spec. `type` names the module in `anycodec/config/codecs/` and `anycodec/torch/codecs/`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycodec.config.codecs.causal3d import Causal3dSpec
from anycodec.config.codecs.dvae import DvaeSpec
from anycodec.config.codecs.klvae import KlVaeSpec
from anycodec.config.codecs.simvqgan import SimVqganSpec
from anycodec.config.codecs.totem import TotemSpec
from anycodec.config.codecs.trellis import TrellisCodecSpec
from anycodec.config.codecs.vqgan import VqganSpec
from anycodec.config.codecs.vqvae2 import Vqvae2Spec

CodecSpec = Annotated[
    Causal3dSpec
    | DvaeSpec
    | KlVaeSpec
    | SimVqganSpec
    | TotemSpec
    | TrellisCodecSpec
    | VqganSpec
    | Vqvae2Spec,
    Field(discriminator="type"),
]

__all__ = [
    "Causal3dSpec",
    "CodecSpec",
    "DvaeSpec",
    "KlVaeSpec",
    "SimVqganSpec",
    "TotemSpec",
    "TrellisCodecSpec",
    "VqganSpec",
    "Vqvae2Spec",
]
