"""Where trainings run: slots on GPUs, or shares of the processors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anycodec.errors import UserError


@dataclass(frozen=True, slots=True)
class Slot:
    """Room for one training.

    Attributes:
        name: as the table shows it.
        threads: processor threads for it.
        gpu: index of its GPU as nvidia-smi counts, None = it runs on processors.
        sharing: trainings on that GPU at a time.
        elsewhere: whoever starts the training chooses the GPU.
    """

    name: str
    threads: int
    gpu: int | None = None
    sharing: int = 1
    elsewhere: bool = False

    def environment(self) -> dict[str, str]:
        """Variables that keep a training to its slot."""
        if self.gpu is None:
            return {"CUDA_VISIBLE_DEVICES": ""}
        chosen: dict[str, str] = {}
        if not self.elsewhere:
            chosen |= {"CUDA_VISIBLE_DEVICES": str(self.gpu), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        if self.sharing > 1:  # JAX takes three quarters of a GPU's memory at its start
            chosen["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 / self.sharing:.2f}"
        return chosen


def allocate(
    gpus: str | None, per_gpu: int, slots: int | None, present: Sequence[int], processors: int
) -> list[Slot]:
    """Slots on the GPUs named, else `slots` on processors, else one on each GPU present or one on processors.

    Args:
        gpus: indices such as "0,1"; None = not given.
        per_gpu: trainings on a GPU at a time.
        slots: trainings on processors at a time; None = not given.
        present: indices of this machine's GPUs.
        processors: threads that all slots share.

    Raises:
        UserError: a GPU that is not there, or both kinds of slots.
    """
    if gpus is not None and slots is not None:
        raise UserError("--gpus and --slots exclude each other", how="--slots is for runs on processors")
    chosen = parse_gpus(gpus) if gpus is not None else tuple(present) if slots is None else ()
    missing = [index for index in chosen if index not in present]
    if missing:
        there = f"it has {', '.join(map(str, present))}" if present else "nvidia-smi shows none"
        raise UserError(
            f"this machine has no GPU {', '.join(map(str, missing))}: {there}",
            where=f"--gpus {gpus}",
            how="name GPUs that are there, or run on processors with --slots N",
        )
    if chosen:
        threads = max(1, processors // (len(chosen) * per_gpu))
        return [
            Slot(f"gpu {gpu}" + (f".{share}" if per_gpu > 1 else ""), threads, gpu, per_gpu)
            for share in range(per_gpu)
            for gpu in chosen
        ]
    count = slots or 1
    return [Slot(f"cpu {number}", max(1, processors // count)) for number in range(count)]


def parse_gpus(text: str) -> tuple[int, ...]:
    """Indices between commas.

    Raises:
        UserError: something else.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words) or len(set(words)) < len(words):
        raise UserError(f"{text!r} are no GPUs", where="--gpus", how="give indices: --gpus 0,1")
    return tuple(map(int, words))
