"""Two processes with half a batch each learn what one process learns from the joined batch."""

import socket

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from anycodec.torch.quantizers import make_quantizer
from contracts.specs import quantizer_variants

DIM = 4
STEPS = 5
SETTINGS = {
    "kmeans_init": True,
    "restart_after": 2,
    "inverse_temperature": 2,  # 100 makes float32's rounding visible
}
VARIANTS = {name: spec for name, spec in quantizer_variants(**SETTINGS).items() if spec.codebook_sizes}
"""Those without tokens keep no statistics, and `kl` draws its own noise in each process."""


class Bottleneck(nn.Module):
    """A linear encoder, the quantizer and the loss of its values and terms."""

    def __init__(self, spec):
        super().__init__()
        self.encoder = nn.Linear(DIM, DIM)
        self.quantizer = make_quantizer(spec, DIM)

    def forward(self, x):
        out = self.quantizer(self.encoder(x.mT).mT)
        return (out.values - x).square().mean() + sum(out.losses.values()), out.stats


def batches():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return [torch.randn(2, DIM, 60) for _ in range(STEPS)]


def states(rank=None):
    """Weights, averages and figures after training; `rank` takes its half of each batch."""
    found = {}
    for name, spec in VARIANTS.items():
        torch.manual_seed(0)
        module = Bottleneck(spec)
        torch.manual_seed(7 + (rank or 0))
        found[name] = trained(module, rank)
    return found


def trained(module, rank):
    replica = module if rank is None else DistributedDataParallel(module, broadcast_buffers=False)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for batch in batches():
        loss, stats = replica(batch if rank is None else batch[rank : rank + 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return dict(module.state_dict()) | dict(stats)


def work(rank, port, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.save(states(rank), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(work, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def alone():
    return states()


@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_equal_one(name, alone, ranks):
    for together in (rank[name] for rank in ranks):
        assert alone[name].keys() == together.keys()
        for key, value in alone[name].items():
            torch.testing.assert_close(together[key], value, atol=1e-5, rtol=1e-4, msg=key)
