"""Two processes with half a batch each keep the state that one process keeps with the joined batch."""

import socket

import pytest
import torch
import torch.distributed as dist

from anycodec.torch.quantizers import make_quantizer
from contracts.specs import QUANTIZERS, quantizer_spec, type_of

SETTINGS = {"restart_after": 2}
BATCHES = 6


def batches():
    torch.manual_seed(1)
    return [torch.randn(2, 4, 9) for _ in range(BATCHES)]


def states(rank=None):
    """State of every quantizer after training; `rank` takes its half of each batch."""
    found = {}
    for kind in QUANTIZERS:
        torch.manual_seed(0)
        quantizer = make_quantizer(quantizer_spec(kind, **SETTINGS), 4)
        torch.manual_seed(7 + (rank or 0))
        for batch in batches_for(rank):
            stats = quantizer(batch).stats
        found[type_of(kind)] = dict(quantizer.state_dict()) | dict(stats)
    return found


def batches_for(rank):
    with torch.random.fork_rng():
        whole = batches()
    return whole if rank is None else [batch[rank : rank + 1] for batch in whole]


def work(rank, port, folder):
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


@pytest.mark.parametrize("kind", QUANTIZERS, ids=type_of)
def test_two_processes_equal_one(kind, ranks):
    alone = states()[type_of(kind)]
    for together in (rank[type_of(kind)] for rank in ranks):
        assert alone.keys() == together.keys()
        for name, value in alone.items():
            torch.testing.assert_close(together[name], value, atol=1e-5, rtol=1e-4, msg=name)
