"""Vision models of the Hugging Face hub as feature networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from anycodec.engine import Windows
from anycodec.errors import MissingExtra, WeightsError
from anycodec.torch.device import coding_memory

_CHUNK = 16
"""Pictures that are looked at at once."""


class HubFeatures:
    """Patch tokens, or the last feature map, of a vision model; see `anycodec.engine.FeatureMaps`.

    Args:
        name: on the hub, or a folder.
        device: where to compute.

    Raises:
        MissingExtra: transformers is not installed.
        WeightsError: the model can't be had, or is no vision model.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        try:
            import transformers
        except ImportError as error:
            raise MissingExtra("transformers", "hub") from error
        self._device = device
        try:
            processor = transformers.AutoImageProcessor.from_pretrained(name)
            model: Any = transformers.AutoModel.from_pretrained(name)
            self._model = model.to(device).eval().requires_grad_(False)
            self._mean, self._deviation = (
                torch.tensor(values, device=device).view(3, 1, 1)
                for values in (processor.image_mean, processor.image_std)
            )
            self._side = int(getattr(model.config, "image_size", 224))
            self.width = self(np.zeros((1, 1, self._side, self._side), np.float32)).shape[1]
        except (OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
            raise WeightsError(
                f"no vision model {name}: {(str(error) or type(error).__name__).splitlines()[0]}",
                how="give a model of pictures alone, or its folder where the hub can't be reached",
            ) from error

    @torch.inference_mode()
    def __call__(self, windows: Windows) -> NDArray[np.float32]:
        """[N C H W] in [-1, 1], C 1 or 3 -> [N F h w]."""
        parts = []
        with coding_memory(self._device):
            for start in range(0, len(windows), _CHUNK):
                x = torch.from_numpy(np.ascontiguousarray(windows[start : start + _CHUNK])).to(self._device)
                rgb = ((x + 1) / 2).clamp(0, 1).expand(-1, 3, -1, -1)
                sized = F.interpolate(rgb, (self._side, self._side), mode="bicubic", antialias=True)
                output = self._model(pixel_values=(sized - self._mean) / self._deviation)
                parts.append(as_maps(output.last_hidden_state.float().cpu().numpy()))
        return np.concatenate(parts)


def as_maps(output: NDArray[np.float32]) -> NDArray[np.float32]:
    """Tokens [N T F] of a square of patches, other tokens first, or maps [N F h w] -> [N F h w]."""
    if output.ndim == 4:
        return output
    side = math.isqrt(output.shape[1])
    patches = output[:, output.shape[1] - side**2 :]
    return np.ascontiguousarray(patches.reshape(len(output), side, side, -1).transpose(0, 3, 1, 2))
