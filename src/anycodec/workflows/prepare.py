"""The first stage of an augmentation: pictures shrunk, and the test samples set apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anycodec.atomic import atomic_write
from anycodec.config.augmentation import AugmentationRunSpec
from anycodec.config.data import DataSpec, ImageSource
from anycodec.config.run import window_shape
from anycodec.data.loader import find_signals
from anycodec.data.manifest import Manifest, Row, row, write_manifest
from anycodec.data.readers import Readers
from anycodec.data.resample import open_at_rate
from anycodec.data.split import Piece, Pieces, make_split
from anycodec.engine import Windows
from anycodec.errors import DataError
from anycodec.io import formats
from anycodec.io.discover import base_folder
from anycodec.metrics.area import area_resized
from anycodec.types import FileInfo, Signal, SignalInfo
from anycodec.workflows.console import out as console
from anycodec.workflows.progress import track
from anycodec.workflows.sample_sets import picture_levels, shows_jet

_LEAST = 2
"""Training samples of a class: one alone has no spread."""
SPLIT, PICTURES, ABOUT = "split.json", "pictures", "pictures.json"


def prepare(spec: AugmentationRunSpec, folder: Path) -> None:
    """Write split.json and, where pictures shall be shrunk, pictures/ and pictures.json into a folder.

    Raises:
        DataError: no usable data, a class of too few samples, or names that would be the same.
    """
    data = _shrunk(spec, folder) if spec.shrink else spec.data
    split = make_split(find_signals(data), data)
    budget = spec.augmentation.budget
    chosen = split.train if budget is None else _within_budget(split.train, budget, spec.seed)
    if not split.test:
        raise DataError(
            "the split leaves nothing to test with", where="data.split", how="give test data a share"
        )
    _require_classes(chosen, split.test, data)
    assert data.root is not None, "find_signals has read it"
    base = base_folder(data.root)

    def rows(pieces: Pieces) -> tuple[Row, ...]:
        return tuple(row(piece.entry, piece.start, piece.stop, base) for piece in pieces)

    settings = data.split
    write_manifest(
        folder / SPLIT,
        Manifest(
            type=data.type,
            by=settings.type,
            ratios=getattr(settings, "ratios", (0.0, 0.0, 0.0)),
            guard=getattr(settings, "guard", 0),
            seed=spec.seed,
            train=rows(chosen),
            val=rows(split.val),
            test=rows(split.test),
        ),
    )
    counts = f"{len(chosen):,} to learn from, {len(split.val):,} to validate, {len(split.test):,} to test"
    console.print(f"  {counts}", markup=False)


def _require_classes(train: Pieces, test: Pieces, data: DataSpec) -> None:
    """Refuse a class that can't be judged before hours of training, not after them."""
    learned, tried = (_samples(part, data) for part in (train, test))
    for label in dict.fromkeys(piece.label for piece in (*train, *test) if piece.label is not None):
        if learned[label] < _LEAST or not tried[label]:
            raise DataError(
                f"class {label} has {learned[label]} samples to learn from and {tried[label]} to test with: "
                f"at least {_LEAST} and 1 are needed",
                where="data.root",
                how=f"record more of it, or leave it out: data.exclude='[{label}/*]'",
            )


def _samples(pieces: Pieces, data: DataSpec) -> Counter[str | None]:
    """Samples of each class: pictures, or whole windows of series."""
    length = 1 if isinstance(data, ImageSource) else window_shape(data)[0]
    found: Counter[str | None] = Counter()
    for piece in pieces:
        found[piece.label] += piece.length // length
    return found


def recorded(spec: AugmentationRunSpec) -> DataSpec:
    """The real data as it was recorded: pictures in colours may be shrunk to grey levels."""
    return spec.data.model_copy(update={"mode": "rgb"}) if spec.shrink else spec.data


def prepared_from_jet(folder: Path) -> bool:
    """Whether `prepare` turned jet colours into levels."""
    about = folder / ABOUT
    return about.is_file() and bool(json.loads(about.read_bytes())["jet"])


def _within_budget(pieces: Pieces, budget: int, seed: int) -> Pieces:
    """So many pieces of each class, drawn by the seed, in their order."""
    rng = np.random.default_rng((seed, 2))
    chosen: list[int] = []
    labels = [piece.label for piece in pieces]
    for label in dict.fromkeys(labels):
        places = [place for place, other in enumerate(labels) if other == label]
        if len(places) < budget:
            raise DataError(
                f"class {label} has {len(places)} training samples, the budget is {budget}",
                where="augmentation.budget",
                how=f"use augmentation.budget={len(places)} or less, or more data",
            )
        chosen += rng.choice(places, budget, replace=False).tolist()
    return tuple(pieces[place] for place in sorted(chosen))


def _shrunk(spec: AugmentationRunSpec, folder: Path) -> ImageSource:
    """Write all pictures as large as a window, and return where they are."""
    data, wanted = recorded(spec), spec.data
    assert isinstance(wanted, ImageSource), "the cross-check refuses others"
    assert data.root is not None, "the loader checks data.root"
    pieces = [Piece(entry, 0, 1) for entry in find_signals(data).entries]
    jet = all(piece.entry.n_channels == 3 for piece in pieces) and shows_jet(data, pieces)
    base = base_folder(data.root)
    names = [Path(piece.path).relative_to(base).with_suffix(".png") for piece in pieces]
    _refuse_equal(names)
    channels = 1 if wanted.mode == "grey" else 3
    readers = Readers(data, open_at_rate)
    for piece, name in track(zip(pieces, names, strict=True), len(pieces), "pictures"):
        pixels = readers.fetch(piece.path, piece.signal, 0, 1).values
        levels = picture_levels(pixels, jet=jet, channels=channels, where=piece.path)
        _write(folder / PICTURES / name, area_resized(levels, wanted.window.size))
    readers.close()
    atomic_write(folder / ABOUT, json.dumps({"jet": jet, "size": wanted.window.size}) + "\n")
    return wanted.model_copy(update={"root": folder / PICTURES})


def _refuse_equal(names: Sequence[Path]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"two pictures would both become {twice}", how="rename one of them, or leave it out: data.exclude"
        )


def _write(path: Path, levels: Windows) -> None:
    """Levels [C H W] in [0, 1] as an 8-bit PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.rint(levels.transpose(1, 2, 0).clip(0, 1) * 255).astype(np.uint8)
    info = SignalInfo(id="", axes="HWC", shape=values.shape, dtype="uint8", unit="level")
    file = FileInfo(path=str(path), format="image", n_signals=1)
    formats.write(path, file, [Signal(info=info, values=values)])
