"""A small convolutional classifier of windows [N C *s]: trained in seconds, the same for the same seed.

    x [B C T] or [B C H W] -> 3 x (conv, stride 2) -> mean over time (the last axis) -> features -> classes

Only time is averaged over: rows of a spectrogram are frequencies and mean different things.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from anycodec.config.evaluation import ClassicalSpec, ClassifierSpec
from anycodec.engine import Windows
from anycodec.torch.device import coding_memory

_LAYERS = 3
_CHUNK = 256
"""Windows that are looked at at once."""


class ClassifierNetwork(nn.Module):
    """See the module.

    Args:
        spec: its sizes.
        shape: (C, *s) of the windows.
        n_classes: K.
    """

    def __init__(self, spec: ClassifierSpec, shape: tuple[int, ...], n_classes: int) -> None:
        super().__init__()
        plane = len(shape) == 3
        conv: type[nn.Module] = nn.Conv2d if plane else nn.Conv1d
        norm: type[nn.Module] = nn.BatchNorm2d if plane else nn.BatchNorm1d
        widths = [shape[0], *(spec.channels * 2**i for i in range(_LAYERS))]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [conv(before, after, 3 if plane else 7, 2, 1 if plane else 3), norm(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        rows = math.ceil(shape[1] / 2**_LAYERS) if plane else 1
        self.narrow = nn.Linear(widths[-1] * rows, spec.features)
        self.classes = nn.Linear(spec.features, n_classes)

    def features(self, x: Tensor) -> Tensor:
        """[B C *s] -> [B F]."""
        activity: Tensor = self.layers(x).mean(dim=-1).flatten(1)
        return functional.relu(self.narrow(activity))

    def forward(self, x: Tensor) -> Tensor:
        """[B C *s] -> logits [B K]."""
        logits: Tensor = self.classes(self.features(x))
        return logits


class TorchClassifier:
    """A trained classifier on NumPy arrays; see `anycodec.engine.Classifier`."""

    def __init__(self, network: ClassifierNetwork, device: torch.device) -> None:
        self._network, self._device = network.eval(), device

    def probabilities(self, windows: Windows) -> NDArray[np.float32]:
        """[N C *s] -> [N K], rows add up to 1."""
        return self._each(windows, logits=True)

    def features(self, windows: Windows) -> NDArray[np.float32]:
        """[N C *s] -> what the classes are told apart by, [N F]."""
        return self._each(windows, logits=False)

    @torch.inference_mode()
    def _each(self, windows: Windows, logits: bool) -> NDArray[np.float32]:
        parts = []
        with coding_memory(self._device):
            for start in range(0, len(windows), _CHUNK):
                x = torch.from_numpy(np.ascontiguousarray(windows[start : start + _CHUNK])).to(self._device)
                out = self._network(x).softmax(dim=1) if logits else self._network.features(x)
                parts.append(out.cpu().numpy())
        return np.concatenate(parts)


def train_classifier(
    spec: ClassifierSpec,
    windows: Windows,
    labels: NDArray[np.int64],
    n_classes: int,
    *,
    classical: ClassicalSpec | None,
    seed: int,
    device: torch.device,
) -> TorchClassifier:
    """Train a classifier; see `anycodec.engine.Engine.classifier`."""
    random = torch.Generator().manual_seed(seed)
    x, y = torch.from_numpy(np.ascontiguousarray(windows)).to(device), torch.from_numpy(labels).to(device)
    with torch.random.fork_rng(devices=[]), coding_memory(device):
        torch.manual_seed(seed)
        network = ClassifierNetwork(spec, tuple(windows.shape[1:]), n_classes).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), spec.lr, weight_decay=spec.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, spec.steps)
        for chosen in _batches(len(x), spec, random):
            rows = chosen.to(device)
            batch = x[rows] if classical is None else augmented(x[rows], classical, random)
            loss = functional.cross_entropy(network(batch), y[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return TorchClassifier(network, device)


def _batches(count: int, spec: ClassifierSpec, random: torch.Generator) -> Iterator[Tensor]:
    """Rows of each step: every sample once before any comes again."""
    waiting = torch.empty(0, dtype=torch.int64)
    for _ in range(spec.steps):
        while len(waiting) < spec.batch_size:
            waiting = torch.cat([waiting, torch.randperm(count, generator=random)])
        yield waiting[: spec.batch_size]
        waiting = waiting[spec.batch_size :]


def augmented(x: Tensor, spec: ClassicalSpec, random: torch.Generator) -> Tensor:
    """A batch [B C *s], some samples shifted in time (the last axis), louder or quieter, and noisier."""
    length, ones = x.shape[-1], (len(x), *[1] * (x.ndim - 1))
    most = round(spec.shift * length)
    shifts = torch.randint(-most, most + 1, (len(x), 1), generator=random)
    places = ((torch.arange(length) - shifts) % length).reshape(*ones[:-1], length).expand_as(x)
    gain = torch.exp(spec.gain * torch.randn(ones, generator=random)).to(x.device)
    noise = torch.randn(x.shape, generator=random).to(x.device)
    chosen = (torch.rand(ones, generator=random) < spec.share).to(x.device)
    return torch.where(chosen, x.gather(-1, places.to(x.device)) * gain + spec.noise * noise, x)
