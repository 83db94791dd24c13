"""From the `data` part of a configuration to the windows that an engine trains on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from anycodec.config.data import DataSpec, ImageSource
from anycodec.config.run import RunSpec
from anycodec.data.catalog import Catalog, scan
from anycodec.data.dataset import WindowDataset
from anycodec.data.normalize import Normalizer, make_normalizer
from anycodec.data.resample import open_at_rate
from anycodec.data.split import Pieces, make_split
from anycodec.data.window import Windower
from anycodec.errors import DataError
from anycodec.io.discover import base_folder, discover, natural_key
from anycodec.types import Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedData:
    """A data set ready for training.

    Attributes:
        train: random windows of the training split.
        val: the fixed grid of the validation split.
        test: the fixed grid of the test split, None where it has no share.
        normalizer: fitted on the training split.
        in_channels: C of the windows.
        classes: names of the classes in natural order; the numbers of the windows' labels.
        skipped: files and signals left out, and why.
        fingerprint: SHA-256 that tells data sets apart, whatever folder they lie in.
        counts: how many files, signals and windows, by name.
    """

    train: WindowDataset
    val: WindowDataset
    test: WindowDataset | None
    normalizer: Normalizer
    in_channels: int
    classes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    fingerprint: str
    counts: Mapping[str, int]


def open_data(spec: RunSpec) -> PreparedData:
    """The data of a codec's run; see `prepare`."""
    return prepare(spec.data, spec.seed, spec.codec.axes)


def prepare(source: DataSpec, seed: int, axes: str | None = None) -> PreparedData:
    """Find the files of a run, split them and fit the normalizer on the training split.

    Args:
        source: where they are and how they are cut.
        seed: of crops and their order.
        axes: of the windows; None = the source's usual ones.

    Raises:
        DataError: no usable data, a split that can't be made, or something left out where
            `data.on_error` is "refuse".
        MissingExtra: the library for these files is not installed.
    """
    catalog = find_signals(source)
    split = make_split(catalog, source)
    if not split.val:
        raise DataError(
            f"the {source.split.type} split leaves nothing for validation",
            where="data.split",
            how="use more data, a validation share above 0, a smaller guard or another data.split.type",
        )

    classes = tuple(sorted({e.label for e in catalog.entries if e.label is not None}, key=natural_key))

    def windows(pieces: Pieces, normalizer: Normalizer, training: bool = False) -> WindowDataset:
        return WindowDataset(
            pieces,
            source,
            normalizer,
            open_at_rate,
            training=training,
            seed=seed,
            axes=axes,
            classes=classes,
        )

    unfitted = make_normalizer(source.normalizer)
    with closing(windows(split.train, unfitted)) as values:
        normalizer = unfitted.fit(values.segments())
    train, val = windows(split.train, normalizer, training=True), windows(split.val, normalizer)
    train.item(0, 0)  # what is wrong with the data or the normalizer shows here, not in a worker
    test = windows(split.test, normalizer) if split.test else None
    skipped = catalog.skipped + split.skipped
    return PreparedData(
        train=train,
        val=val,
        test=test,
        normalizer=normalizer,
        in_channels=in_channels(source, catalog),
        classes=classes,
        skipped=skipped,
        fingerprint=catalog.fingerprint(base_folder(_root(source))),
        counts={
            "files": len(catalog.files),
            "signals": len(catalog.entries),
            "train_windows": len(train),
            "val_windows": len(val),
            "test_windows": len(test) if test else 0,
            "left_out": len(skipped),
        },
    )


def find_signals(source: DataSpec) -> Catalog:
    """The usable signals under `source.root`.

    Raises:
        DataError: there are none, or something is left out where `source.on_error` is "refuse".
        MissingExtra: the library for these files is not installed.
    """
    root = _root(source)
    found = discover(root, source)
    catalog = scan(found.files, source, open_at_rate)
    catalog = Catalog(catalog.entries, found.skipped + catalog.skipped)
    if not catalog.entries:
        first = catalog.skipped[0] if catalog.skipped else None
        raise DataError(
            f"no usable {source.type} data" + (f"; {first.path}: {first.reason}" if first else ""),
            where=str(root),
            how="check data.root and data.type",
        )
    return catalog


def _root(source: DataSpec) -> Path:
    if source.root is None:
        raise DataError("no data given", where="data.root", how="add data.root=FOLDER to the command")
    return source.root


def in_channels(source: DataSpec, catalog: Catalog) -> int:
    if isinstance(source, ImageSource):
        return 3 if source.mode == "rgb" else 1
    return 1 if Windower(source).independent else catalog.entries[0].n_channels


__all__ = ["PreparedData", "WindowDataset", "find_signals", "open_data", "prepare"]
