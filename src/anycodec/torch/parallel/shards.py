"""Weights divided among the processes of a training (FSDP): each holds a part, and all while it computes.

Quantizers stay whole in every process: they place codes by themselves, and read them outside of the network's
forward pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm


def shard(
    network: nn.Module, device: torch.device, output: type[Any], whole: Iterable[nn.Parameter] = ()
) -> None:
    """Divide the weights of a network, which is on its device and the same everywhere.

    Args:
        network: computes in `forward` alone.
        device: of this process.
        output: dataclass that it gives; FSDP must find the tensors in it, where a backward pass starts.
        whole: parameters that every process keeps.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.export import register_dataclass

    register_dataclass(output)
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    indivisible = {parameter for parameter in network.parameters() if parameter.ndim == 0}
    fully_shard(network, mesh=mesh, reshard_after_forward=True, ignored_params={*whole, *indivisible})


def gathered(tree: Any) -> Any:
    """A state with all tensors whole; every process has to ask."""
    if isinstance(tree, DTensor):
        return tree.full_tensor()
    if isinstance(tree, dict):
        return {key: gathered(value) for key, value in tree.items()}
    return [gathered(value) for value in tree] if isinstance(tree, list) else tree


def divided(value: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor where `like` is divided; the tensor itself elsewhere."""
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def clip(parameters: Iterable[nn.Parameter], limit: float) -> None:
    """Limit the global norm of gradients, of which some may be divided."""
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    kinds = [[p for p in trained if isinstance(p, DTensor) is divided] for divided in (True, False)]
    norms = [gathered(get_total_norm([p.grad for p in kind if p.grad is not None])) for kind in kinds if kind]
    norm = torch.stack(norms).norm()
    for kind in kinds:
        if kind:
            clip_grads_with_norm_(kind, limit, norm)
