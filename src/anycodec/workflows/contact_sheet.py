"""A look at samples: a row a class, as pictures or curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.workflows.canvas import WIDTH, canvas

ROWS, COLUMNS = 16, 8
"""Samples that are shown at most."""


class ContactSheet:
    """Gathers the first samples of the first classes.

    Args:
        native: what the latents say of their files.
    """

    def __init__(self, native: Mapping[str, Any]) -> None:
        self._limits = native.get("value_range")
        self._rows: dict[str, list[NDArray[np.float32]]] = {}

    def add(self, name: str, values: NDArray[np.float32]) -> None:
        """Take in a sample [C *s]; more than fit are passed over."""
        if name not in self._rows and len(self._rows) == ROWS:
            return
        row = self._rows.setdefault(name, [])
        if len(row) < COLUMNS:
            row.append(values)

    def png(self) -> bytes:
        """The sheet."""
        columns = max(map(len, self._rows.values()))
        first = next(iter(self._rows.values()))[0]
        aspect = first.shape[-2] / first.shape[-1] if first.ndim > 2 else 0.6
        cell = WIDTH / columns
        with canvas(max(1.0, cell * aspect * len(self._rows) * 1.1)) as (figure, render):
            axes = figure.subplots(len(self._rows), columns, squeeze=False)
            for row, (name, samples) in zip(axes, self._rows.items(), strict=True):
                row[0].set_ylabel(name)
                for number, place in enumerate(row):
                    place.set_xticks([])
                    place.set_yticks([])
                    place.grid(visible=False)
                    place.spines[:].set_visible(False)
                    if number < len(samples):
                        self._show(place, samples[number])
            return render()

    def _show(self, place: Any, values: NDArray[np.float32]) -> None:
        if values.ndim == 2:
            place.plot(values.T, linewidth=0.7)
            return
        picture = values if values.ndim == 3 else values[:, values.shape[1] // 2]
        low, high = self._limits or (float(picture.min()), float(picture.max()))
        shown = np.clip((picture - low) / max(high - low, 1e-9), 0, 1)
        if len(shown) == 3:
            place.imshow(np.moveaxis(shown, 0, -1))
        else:
            place.imshow(shown[0], cmap="gray", vmin=0, vmax=1)
