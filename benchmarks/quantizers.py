"""A training step of a codebook against its own matrix product and vector-quantize-pytorch.

Latents [N D] and codes [K D] from a normal distribution, float32, one step = forward and backward:

* `ema` and `vq` of anycodec,
* VectorQuantize of vector-quantize-pytorch 1.32, EMA, straight-through, decay as ours; left out,
  which is said, where it is not installed (pip install --group benchmarks),
* the bare product of the same size, z C^T, which any exact search computes in some form, into memory
  that is kept from turn to turn,
* the search alone: by float32 products with all codes, and as it is chosen on this processor
  (`anycodec/torch/quantizers/shortlist.py`), whose tokens are compared.

The float32 search is bound by what comes after its product, more so on a busy machine (load 6 on two
cores, over the product, N 8192 and 4096): it went from 1.42 and 1.53 to 1.30 and 1.31 with |c|^2 / 2 as one
more channel of the product instead of a summand, a table that is kept, parts of 4096 codes and minima by
groups of groups. Found slower: tiles that fit L2 (their products are slow; 1.33 to 2.1), `min` over rows or
`argmax` (5 and 9 times a minimum by groups).

All in turns in one process, in CPU seconds of all its threads: other work on the machine hits them less.
Memory is what a step takes beyond its inputs and state, at its peak, in a process of its own (Linux);
that of the product is its result.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import common
from anycodec.config.quantizer import EmaSpec, VqSpec
from anycodec.torch.quantizers import make_quantizer, search, shortlist

CASES = ((8192, 256, 4096), (4096, 256, 16384))
QUICK = ((512, 32, 256),)
DECAY = 0.99

OURS, PEER, PRODUCT = "anycodec ema", "vector-quantize-pytorch ema", "matrix product"
ALL, CHOSEN = "search, all codes", "search"

FASTER_THAN_PEER = 4.5
OVER_PRODUCT = 1.2

Work = Callable[[], object]


def latents(n: int, dim: int) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(1))


def codes(size: int, dim: int) -> Tensor:
    return torch.randn(size, dim, generator=torch.Generator().manual_seed(2))


def ours(spec: EmaSpec | VqSpec, n: int, dim: int) -> Work:
    """A step of our quantizer on [1 D N]."""
    quantizer = make_quantizer(spec, dim)
    state = quantizer.state_dict()
    state["codebook"].copy_(codes(spec.codebook_size, dim))
    if "sums" in state:
        state["sums"].copy_(state["codebook"])
    z = latents(n, dim).T.contiguous()[None].requires_grad_()
    upstream = torch.randn_like(z)

    def step() -> None:
        z.grad = None
        quantizer.zero_grad()
        out = quantizer(z)
        torch.autograd.backward([out.values, sum(out.losses.values())], [upstream, None])

    return step


def peer(n: int, dim: int, size: int) -> Work | None:
    """The same step of vector-quantize-pytorch on [1 N D]; None where it is not installed."""
    try:
        from vector_quantize_pytorch import VectorQuantize  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    quantizer = VectorQuantize(
        dim, size, decay=DECAY, commitment_weight=0.25, rotation_trick=False, threshold_ema_dead_code=0
    )
    quantizer._codebook.embed.data.copy_(codes(size, dim)[None])
    quantizer._codebook.embed_avg.data.copy_(codes(size, dim)[None])
    z = latents(n, dim)[None].requires_grad_()
    upstream = torch.randn_like(z)

    def step() -> None:
        z.grad = None
        values, _, loss = quantizer(z)
        torch.autograd.backward([values, loss.sum()], [upstream, None])

    return step


def candidates(n: int, dim: int, size: int) -> dict[str, Work]:
    plain = {"codebook_size": size, "kmeans_init": False, "restart_after": 0}
    z, table, kept = latents(n, dim), codes(size, dim), torch.zeros(n, size)
    found: dict[str, Work | None] = {
        OURS: ours(EmaSpec(**plain, decay=DECAY), n, dim),
        "anycodec vq": ours(VqSpec(**plain), n, dim),
        PEER: peer(n, dim, size),
        PRODUCT: lambda: torch.mm(z, table.T, out=kept),
        ALL: lambda: search.nearest_of_all(z, table),
        CHOSEN: lambda: search.nearest(z, table),
    }
    return {name: work for name, work in found.items() if work is not None}


def cpu_seconds(work: Work) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def measure(case: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """Times and memory of a case."""
    n, dim, size = case
    works = candidates(n, dim, size)
    for work in works.values():
        work()
    times = common.in_turns({name: lambda w=w: cpu_seconds(w) for name, w in works.items()}, repeats)
    z, table = latents(n, dim), codes(size, dim)
    differing = int((search.nearest(z, table) != search.nearest_of_all(z, table)).sum())
    return {
        "latents": n,
        "dim": dim,
        "codes": size,
        "short lists": shortlist.pays(z, table),
        "tokens that differ": differing,
        "candidates": {
            name: {
                "cpu_seconds": statistics.median(times[name]),
                "of_product": common.ratio(times, name, PRODUCT),
                "of_ema": common.ratio(times, name, OURS),
                "extra_mib": extra_memory(case, name),
            }
            for name in works
        },
    }


def extra_memory(case: tuple[int, int, int], name: str) -> float | None:
    """MiB that a first step takes at its peak, in a fresh process."""
    if not Path("/proc/self/status").is_file():
        return None
    command = common.python(__file__, "--case", json.dumps(case), "--memory-of", name)
    return float(common.run(command).output.split()[-1])


def print_extra_memory(case: tuple[int, int, int], name: str) -> None:
    candidates(64, 8, 32)[name]()  # brings in the libraries' own memory
    work = candidates(*case)[name]
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far
    before = resident("VmRSS")
    kept = work()
    print((resident("VmHWM") - before) / common.MIB)
    del kept


def resident(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def claims(table: dict[str, Any]) -> list[dict[str, Any]]:
    rows, size = table["candidates"], f"{table['latents']} x {table['dim']} x {table['codes']}"
    found = [
        (f"{size}: step of ema over the bare product", rows[OURS]["of_product"], OVER_PRODUCT, True),
        (f"{size}: float32 search over the bare product", rows[ALL]["of_product"], OVER_PRODUCT, True),
        (f"{size}: tokens that differ", table["tokens that differ"], 1, True),
    ]
    if table["short lists"]:
        found.append((f"{size}: search over the bare product", rows[CHOSEN]["of_product"], 1, True))
        found.append((f"{size}: step of ema over the bare product", rows[OURS]["of_product"], 1, True))
    if PEER in rows:
        found.append((f"{size}: times faster than {PEER}", rows[PEER]["of_ema"], FASTER_THAN_PEER, False))
    return [common.verdict(claim, value, target, below=below) for claim, value, target, below in found]


def parse() -> argparse.Namespace:
    parser = common.arguments(__doc__)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    parser.add_argument("--repeats", type=int, help="turns (default: 5)")
    parser.add_argument("--case", type=json.loads, help="[N, D, K] instead of the default ones")
    parser.add_argument("--memory-of", help="print the memory of one candidate of --case and end")
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print_extra_memory(tuple(options.case), options.memory_of)
        return
    cases = (tuple(options.case),) if options.case else QUICK if options.quick else CASES
    tables = []
    for case in cases:
        table = measure(case, options.repeats or (1 if options.quick else 5))
        tables.append(table)
        print(f"N {table['latents']}, D {table['dim']}, K {table['codes']}, {options.threads} thread(s)")
        for name, row in table["candidates"].items():
            print(
                f"  {name:28} {1e3 * row['cpu_seconds']:8.1f} ms  x{row['of_product']:6.2f} of the product   "
                f"{row['extra_mib'] or float('nan'):8.1f} MiB"
            )
        if PEER not in table["candidates"]:
            print(f"  {PEER}: not installed (pip install --group benchmarks)")
    met = [claim for table in tables for claim in claims(table)]
    common.save("quantizers", options, {"threads": options.threads, "claims": met, "tables": tables})


if __name__ == "__main__":
    main()
