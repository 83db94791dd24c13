"""What this process may compute on."""

from __future__ import annotations

import os
import re

from anycodec.workflows.doctor import nvidia_gpus


def gpus() -> tuple[int, ...]:
    """NVIDIA GPUs by their index in nvidia-smi, only those of CUDA_VISIBLE_DEVICES where that lists them."""
    found = [re.match(r"GPU (\d+):", line) for line in nvidia_gpus()]
    present = [int(match[1]) for match in found if match]
    words = os.environ.get("CUDA_VISIBLE_DEVICES")
    if words is None or not all(word.strip().isdecimal() for word in words.split(",") if word):
        return tuple(present)
    visible = {int(word) for word in words.split(",") if word}
    return tuple(index for index in present if index in visible)
