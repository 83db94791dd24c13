"""A basecaller's network on the current of whole reads."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anycodec.engine import BasecallerName, BaseProbabilities
from anycodec.torch.basecallers.quartznet import BONITO_R941, LABELS, QuartzNet
from anycodec.torch.device import coding_memory
from anycodec.torch.features.published import load_published

CHUNK = 36_000
"""Samples that are computed at once, without the margins: bounds memory whatever the read."""
SECTION = 100
"""Samples of a section that is judged noise or stall."""
STALL = 6.0
"""A section whose standard deviation is below the read's by this factor is a stall."""
MAD_TO_SD = 1.4826


def load_basecaller(name: BasecallerName, device: torch.device) -> BaseProbabilities:
    """A published basecaller with the weights from the cache.

    Raises:
        WeightsError: they are not there or damaged; says which command mends it.
    """
    network = QuartzNet(BONITO_R941)
    load_published(network, name)
    network = network.to(device).eval()

    def probabilities(current: NDArray[np.float32]) -> NDArray[np.float32]:
        if not len(current):
            return np.empty((0, len(LABELS)), np.float32)
        signal = torch.from_numpy(normalised(current)).to(device)
        with coding_memory(device), torch.autocast(device.type, torch.bfloat16):
            found: NDArray[np.float32] = stitched(network, signal).exp().cpu().numpy()
        return found

    return probabilities


@torch.inference_mode()
def stitched(network: QuartzNet, signal: Tensor, chunk: int = CHUNK) -> Tensor:
    """Log-probabilities [F K] of a read [T], chunk by chunk.

    Chunks overlap by the network's margin to either side, whose frames are dropped: what is left saw all
    that it would have seen in the whole read.
    """
    margin, stride = network.margin, network.stride
    chunk = max(stride, chunk // stride * stride)
    parts = []
    for start in range(0, len(signal), chunk):
        first = max(0, start - margin)
        piece = signal[first : start + chunk + margin]
        frames = network(piece[None, None])[0]
        skip = (start - first) // stride
        parts.append(frames[skip : skip + chunk // stride])
    return torch.cat(parts)


def normalised(current: NDArray[np.float32]) -> NDArray[np.float32]:
    """(x - median) / (1.4826 MAD), both of the longest stretch in which the strand moved.

    Adapters and stalls, where the current hardly changes, would shift the statistics. A read without such
    a stretch is taken as a whole; a constant one becomes zeros.
    """
    moving = current[longest_moving(current)]
    median = np.median(moving)
    mad = np.median(np.abs(moving - median))
    scale = MAD_TO_SD * mad if mad > 0 else 1.0
    out: NDArray[np.float32] = ((current - median) / scale).astype(np.float32)
    return out


def longest_moving(current: NDArray[np.float32]) -> slice:
    """The longest run of sections that vary about as much as the whole read; everything if there is none."""
    sections = len(current) // SECTION
    spread = current[: sections * SECTION].reshape(sections, SECTION).std(axis=1)
    moves = np.concatenate([[False], spread > current.std() / STALL, [False]])
    starts, stops = (np.flatnonzero(np.diff(moves.astype(np.int8)) == step) for step in (1, -1))
    if not len(starts):
        return slice(None)
    longest = int(np.argmax(stops - starts))
    return slice(int(starts[longest]) * SECTION, int(stops[longest]) * SECTION)
