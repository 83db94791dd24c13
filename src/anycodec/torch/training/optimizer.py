"""AdamW in one pass over memory on CPU, whatever the order in which tensors lie there."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import AdamW

from anycodec.config.train import OptimizerSpec


class CodecAdamW(AdamW):
    """torch's AdamW, fused on CPU: one pass over parameters, gradients and moments instead of nine.

    The fused update reads parameter and moments in memory order and does not notice when these differ,
    as they may after a stored state was loaded: it came from another device, engine or version.
    """

    def __init__(self, groups: list[dict[str, Any]], spec: OptimizerSpec) -> None:
        on_cpu = all(p.device.type == "cpu" for group in groups for p in group["params"])
        super().__init__(
            groups,
            lr=spec.lr,
            betas=spec.betas,
            weight_decay=spec.weight_decay,
            fused=on_cpu,
            foreach=not on_cpu,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for parameter, moments in self.state.items():
            for name, moment in moments.items():
                if moment.shape == parameter.shape:
                    moments[name] = torch.empty_like(parameter).copy_(moment)
