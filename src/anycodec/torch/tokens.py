"""Blocks of a token file for a PyTorch data loader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from anycodec.data.tokens import TokenDataset


class TokenBlocks(Dataset[Tensor]):
    """Stretches of the stream of all documents: item i is tokens [i * length, (i + 1) * length + 1).

    Neighbours share one token: its first `length` are a model's input, its last `length` the target.

    Args:
        path: the `.bin` that `anycodec pack` wrote.
        length: tokens of input.

    Raises:
        FormatError: not a token file.
    """

    def __init__(self, path: str | Path, length: int) -> None:
        self._path = Path(path)
        self._length = length
        self.source = TokenDataset(self._path)

    def __len__(self) -> int:
        """Number of whole blocks."""
        return max(0, len(self.source.tokens) - 1) // self._length

    def __getitem__(self, index: int) -> Tensor:
        """[length + 1] int64."""
        if not 0 <= index < len(self):
            raise IndexError(f"block {index} of {len(self)}")
        begin = index * self._length
        block = self.source.tokens[begin : begin + self._length + 1]
        return torch.from_numpy(block.astype(np.int64))

    def __getstate__(self) -> dict[str, object]:
        """Workers of a data loader map the file themselves."""
        return {"_path": self._path, "_length": self._length}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.source = TokenDataset(self._path)
