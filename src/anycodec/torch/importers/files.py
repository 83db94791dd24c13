"""Published weight files. They are hostile: tensors are read, nothing in them is ever run."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from anycodec.errors import WeightsError

_STATES = ("state_dict", "model_state_dict", "model")
"""Entries under which training frameworks store a state among their own records."""
_RELOAD = (
    "if you trust its origin, save the tensors alone where the publisher's code is installed: "
    "x = torch.load(FILE, weights_only=False); torch.save(x['state_dict'], 'tensors.pt') "
    "(x.state_dict() where x is a whole model), and import tensors.pt"
)
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)|(?:function|class) <?(?:class )?'?([\w.]+)")
"""Where torch names what a pickle asked for."""
_SLACK = 2**20
"""Bytes by which a state may exceed its file: a few tensors that share their values."""


def read_tensors(path: Path, states: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The state in a safetensors file or a PyTorch checkpoint (`.pt`, `.pth`, `.ckpt`, `.bin`), on the CPU.

    Args:
        path: the file.
        states: entries of a checkpoint that are looked for before the usual ones.

    Raises:
        WeightsError: missing, damaged, without tensors, or a pickle that refers to code.
    """
    if not path.is_file():
        raise WeightsError("there is no such file", where=str(path), how="give the file with the weights")
    found = _safetensors(path) if path.suffix == ".safetensors" else _state(_checkpoint(path), path, states)
    _check_size(found, path)
    return found


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"damaged safetensors file: {error}", where=str(path)) from error


def _checkpoint(path: Path) -> Any:
    """What `torch.save` stored, if it is tensors, numbers, text and containers of those."""
    archive = zipfile.is_zipfile(path)
    try:
        if archive:
            _check_archive(path)
        with warnings.catch_warnings(action="ignore"):  # about pickles that it may go on to refuse
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive or None)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from error
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle can make its reader raise anything
        reason = re.split(r"\.\s|\n", str(error).strip())[0]
        raise WeightsError(
            f"not a whole PyTorch checkpoint ({type(error).__name__}: {reason})",
            where=str(path),
            how="fetch the file again; safetensors files must be called *.safetensors",
        ) from error


def _check_archive(path: Path) -> None:
    """Checkpoints are stored uncompressed: anything else could unpack to more than memory holds."""
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise WeightsError(
                "a TorchScript program or a compressed archive, not a checkpoint", where=str(path)
            )


def _refusal(path: Path, message: str) -> WeightsError:
    """Why a pickle was not read; torch names the first class or function that is more than data."""
    named = _GLOBAL.search(message)
    if named is None:
        return WeightsError(
            "a damaged file, or a pickle of more than tensors; nothing was run", where=str(path), how=_RELOAD
        )
    return WeightsError(
        f"the file holds more than tensors: it refers to {named[1] or named[2]}, which would have to be "
        "run to be read; nothing was run",
        where=str(path),
        how=_RELOAD,
    )


def _state(found: Any, path: Path, states: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors by name, from among a training framework's records if need be."""
    if isinstance(found, Mapping):
        inner = next(
            (found[key] for key in (*states, *_STATES) if isinstance(found.get(key), Mapping)), found
        )
        others = [str(name) for name, value in inner.items() if not _usable(name, value)]
        if inner and not others:
            return dict(inner)
        if inner:
            raise WeightsError(
                f"no plain state: {', '.join(sorted(others)[:8])} are not named tensors",
                where=str(path),
                how=f"save the tensors by name, or under one of {', '.join(_STATES)}",
            )
    raise WeightsError("the file holds no tensors by name", where=str(path))


def _usable(name: object, value: object) -> bool:
    """Whether an entry is a named tensor of plain numbers."""
    return (
        isinstance(name, str)
        and isinstance(value, Tensor)
        and value.device.type == "cpu"
        and value.layout == torch.strided
        and not value.is_quantized
        and not value.is_complex()
    )


def _check_size(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Views can claim any size of a few stored values: together they must not exceed the file much."""
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    stored = path.stat().st_size
    if claimed > 2 * stored + _SLACK:
        raise WeightsError(
            f"damaged: its tensors claim {claimed:,} bytes, the file has {stored:,}", where=str(path)
        )
