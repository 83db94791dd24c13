"""What two processes compute together, against one process that has the whole batch."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn

from anycodec.errors import DataError, UserError
from anycodec.torch.parallel import gradients, group
from anycodec.torch.parallel.batchnorm import join_batch_norms
from anycodec.torch.parallel.failure import report, reported
from anycodec.torch.parallel.gradients import GradientMean
from anycodec.torch.parallel.sums import join_rows

Found = dict[str, Tensor]
WHOLE = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(1))
SHARE = 3


class Network(nn.Module):
    """A layer, the normalisation of a batch, another layer, and one that is never used."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv1d(3, 4, 1)
        self.norm = nn.BatchNorm1d(4, momentum=0.3)
        self.last = nn.Conv1d(4, 2, 1)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.norm(self.first(x)).relu())
        return y


def learned(x: Tensor) -> Found:
    """Gradients over two batches, the second one the same as the first, and the state after them."""
    network = Network()
    join_batch_norms(network)
    mean = GradientMean(network.parameters()) if dist.is_initialized() else None
    for last in (False, True):
        if last and mean:
            mean.expect()
        network(x).square().mean().backward()
    if mean:
        mean.finish()
    assert network.unused.weight.grad is None
    found = {f"gradient {name}": p.grad for name, p in network.named_parameters() if p.grad is not None}
    return found | dict(network.state_dict())


def spread(x: Tensor) -> Found:
    """A loss that looks at all rows at once."""
    rows = x.flatten(1).clone().requires_grad_()
    joined = join_rows(rows)
    (joined.T @ joined).square().sum().backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None
    return {"rows": joined.detach(), "gradient": rows.grad}


def work(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    gradients.BUCKET = 40  # bytes: several buckets
    store = dist.TCPStore("127.0.0.1", port, is_master=rank == 0, wait_for_workers=False)
    with group.joined(store, rank, 2):
        x = WHOLE[rank * SHARE : (rank + 1) * SHARE]
        noise = torch.Generator()
        group.own_noise(5, 1, generator=noise)
        report(store, rank, DataError(f"damaged {rank}", where="a.pod5")) if rank else dist.barrier()
        dist.barrier() if rank else None
        other = reported(store, rank)
        found = {
            "learned": learned(x),
            "spread": spread(x),
            "told": group.tell(rank),
            "largest": group.largest(10 - rank),
            "means": group.means({"a": torch.tensor(float(rank))}),
            "noise": torch.rand(2, generator=noise),
            "error": [type(other).__name__, str(other)],
        }
        torch.save(found, f"{folder}/{rank}.pt")
        dist.barrier()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Found]]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(work, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_gradients_and_statistics_are_those_of_the_whole_batch(ranks: list[dict[str, Found]]) -> None:
    alone = learned(WHOLE)
    for found in ranks:
        assert found["learned"].keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(found["learned"][name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_a_loss_over_all_rows_has_the_gradient_of_one_process(ranks: list[dict[str, Found]]) -> None:
    """The mean of two equal losses: each process's own gradient is twice its half of it."""
    alone = spread(WHOLE)
    for rank, found in enumerate(ranks):
        torch.testing.assert_close(found["spread"]["rows"], alone["rows"])
        share = alone["gradient"][rank * SHARE : (rank + 1) * SHARE]
        torch.testing.assert_close(found["spread"]["gradient"] / 2, share)


def test_what_processes_tell_one_another(ranks: list[dict[str, Found]]) -> None:
    assert [found["told"] for found in ranks] == [0, 0]
    assert [found["largest"] for found in ranks] == [10, 10]
    assert [float(found["means"]["a"]) for found in ranks] == [0.5, 0.5]
    assert not torch.equal(ranks[0]["noise"], ranks[1]["noise"])
    assert list(ranks[0]["error"]) == ["DataError", "damaged 1\n  where: a.pod5"]
    assert list(ranks[1]["error"]) == ["NoneType", "None"]


def test_a_process_alone_needs_nobody() -> None:
    assert (group.rank(), group.size(), group.tell("a"), group.largest(3)) == (0, 1, "a", 3)
    before = torch.get_rng_state()
    group.own_noise(1, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_errors_of_any_kind_travel() -> None:
    store = dist.HashStore()
    report(store, 1, UserError("a", where="b", how="c"))
    report(store, 2, DataError("the second does not count"))
    found = reported(store, 0)
    assert found is not None
    assert (type(found), found.what, found.where, found.how) == (UserError, "a", "b", "c")
