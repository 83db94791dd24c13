"""AdamW in one pass over memory on CPU, whatever the order in which tensors lie there."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.optim import AdamW

from anycodec.config.train import OptimizerSpec
from anycodec.torch.parallel.shards import divided


class CodecAdamW(AdamW):
    """torch's AdamW, fused on CPU: one pass over parameters, gradients and moments instead of nine.

    The fused update reads parameter and moments in memory order and does not notice when these differ,
    as they may after a stored state was loaded: it came from another device, engine or version.
    Where weights are divided among processes they are updated one by one, since some are whole.
    """

    def __init__(self, groups: list[dict[str, Any]], spec: OptimizerSpec) -> None:
        parameters = [parameter for group in groups for parameter in group["params"]]
        on_cpu = all(parameter.device.type == "cpu" for parameter in parameters)
        some_divided = any(isinstance(parameter, DTensor) for parameter in parameters)
        super().__init__(
            groups,
            lr=spec.lr,
            betas=spec.betas,
            weight_decay=spec.weight_decay,
            fused=on_cpu and not some_divided,
            foreach=not on_cpu and not some_divided,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group in self.param_groups:  # how it computes is not part of a state
            group |= {name: self.defaults[name] for name in ("fused", "foreach")}
        for parameter, moments in self.state.items():
            for name, moment in moments.items():
                if moment.shape == parameter.shape:
                    moments[name] = torch.empty_like(parameter).copy_(divided(moment, parameter))
