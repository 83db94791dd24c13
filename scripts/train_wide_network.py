"""Trains the network of the format that foretells nanopore current: `bitstream/models/nanopore-wide-1.bin`.

    python scripts/train_wide_network.py --data FOLDER --out network.bin

FOLDER holds the POD5 files of `RECORDINGS`, public reads of R9.4.1, R10.4.1 and RNA002 pores; those of
`HELD_OUT` are looked at but never learned from. The network shipped is what 12,000 steps gave with torch 2.13
on one thread of an Intel Xeon, in 6 minutes. Its bytes are part of the format and never change: this script
says where they are from, and makes the next one.

The network sees a sample as `wide_kernels` does, in floating point: differences to the last sample of the 31
before it, running averages and mean steps, all in units of S, the mean step of the read. Its loss is the bits
that a mixture of four logistics takes for the sample, which is what the file will take.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pod5
import torch
from numpy.typing import NDArray
from scipy.signal import lfilter
from torch import Tensor, nn

from anycodec.bitstream.wide import Layer, WideNetwork
from anycodec.workflows.samples import run as write_samples

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

RECORDINGS = {
    "r941_prom_squigualiser": 0.22,
    "r94_klebsiella_deepnano": 0.25,
    "r1041_5khz_dorado": 0.30,
    "r1041_4khz_f5c_squigualiser": 0.09,
    "r1041_4khz_chr22_squigualiser": 0.08,
    "rna002_squigualiser": 0.06,
}
"""Files and their shares of what is learned from."""
HELD_OUT = ("r941_lambda", "r1041_5khz_p2solo_slow5tools")
GRIDS = {1: 0.7, 9: 0.2, 3: 0.1}
"""Steps that samples are rounded to, in ADC counts, and their shares: no loss, and bounds of 4 and 1."""
LAGS, JOINT = 32, 4
"""Samples before the one that is foretold; logistics of the mixture."""
WIDTHS = (96, 64)
MOST = 15.99
"""Inputs and activations are cut here, as the integers of the kernels are."""
EVALUATED, REPORT_EVERY = 60_000, 1000


@dataclass(frozen=True, slots=True)
class Prepared:
    """Reads on their grids, one after the other.

    Attributes:
        values: [n] samples less the base of their read, with `LAGS` zeros before each read.
        averages: [n 6] what runs over all samples before; see `features`.
        starts, lengths, shares: [reads].
        scales: [reads] S.
        constants: [reads 2] S in octaves / 4, and how far samples are from the base in 4 S.
    """

    values: Tensor
    averages: Tensor
    starts: Whole
    lengths: Whole
    shares: Floats
    scales: Tensor
    constants: Tensor


def signals(path: Path) -> list[Whole]:
    """The reads of a POD5 file, ADC counts."""
    with pod5.Reader(path) as reader:
        return [read.signal.astype(np.int64) for read in reader.reads()]


def prepare(files: Sequence[tuple[list[Whole], float]], grids: dict[int, float]) -> Prepared:
    """Reads of files with shares, each read on each grid."""
    values, averages = [np.zeros(LAGS, np.float32)], [np.zeros((LAGS, 6), np.float32)]
    starts, lengths, shares, scales, constants = [], [], [], [], []
    at = LAGS
    for reads, share in files:
        for grid, part in grids.items():
            samples = sum(map(len, reads))
            for read in reads:
                one, running, scale, constant = features(np.floor((read + grid // 2) / grid).astype(np.int64))
                values += [one, np.zeros(LAGS, np.float32)]
                averages += [running, np.zeros((LAGS, 6), np.float32)]
                starts.append(at)
                lengths.append(len(read))
                shares.append(share * part * len(read) / samples)
                scales.append(scale)
                constants.append(constant)
                at += len(read) + LAGS
    return Prepared(
        torch.from_numpy(np.concatenate(values)),
        torch.from_numpy(np.concatenate(averages)),
        np.array(starts),
        np.array(lengths),
        np.array(shares) / np.sum(shares),
        torch.tensor(scales, dtype=torch.float32),
        torch.from_numpy(np.stack(constants)),
    )


def features(read: Whole) -> tuple[NDArray[np.float32], NDArray[np.float32], float, NDArray[np.float32]]:
    """Samples less the base, [n 6] running averages before each, S, and the constants of a read."""
    values = (read - np.median(read)).astype(np.float64)
    step = max(1.0, float(np.abs(np.diff(read)).mean()))
    level = min(255, max(0, round(16 * math.log2(step))))
    scale = 2 ** (level / 16)
    steps = np.abs(np.diff(values, prepend=values[0]))
    clipped = np.minimum(steps, scale) / scale
    running = np.stack(
        [
            before(values, 0) / (4 * scale),
            before(average(values, 32, 0.0), 0.0) / scale,
            before(average(values, 256, 0.0), 0.0) / (2 * scale),
            before(average(clipped, 16, 0.6), 0.6),
            before(average(clipped, 128, 0.6), 0.6),
            before(average(steps / scale, 512, 1.0), 1.0),
        ],
        1,
    )
    last = before(values, 0)
    running[:, 1] -= last / scale
    running[:, 2] -= last / (2 * scale)
    constant = np.array([level / 64, np.abs(values).mean() / (4 * scale)])
    return values.astype(np.float32), running.astype(np.float32), scale, constant.astype(np.float32)


def average(x: Floats, memory: int, start: float) -> Floats:
    """Exponential running average over about so many samples."""
    share = 1 / memory
    found: Floats = lfilter([share], [1, -(1 - share)], x, zi=[start * (1 - share)])[0]
    return found


def before(x: Floats, start: float) -> Floats:
    """One sample later."""
    return np.concatenate([[start], x[:-1]])


class Network(nn.Module):
    """39 inputs [B 39] -> weights, means and scales of the logistics [B 12]."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(LAGS - 1 + 6 + 2, WIDTHS[0])
        self.b = nn.Linear(*WIDTHS)
        self.c = nn.Linear(WIDTHS[1], 3 * JOINT)
        with torch.no_grad():
            self.c.weight *= 0.1
            self.c.bias.copy_(torch.tensor([0.0] * JOINT + [0, -0.5, 0.5, 0] + [0.0, 1, 1, 3]))

    def forward(self, u: Tensor) -> Tensor:
        out: Tensor = self.c(self.b(self.a(u).clamp(0, MOST)).clamp(0, MOST))
        return out

    def layers(self) -> tuple[Layer, Layer, Layer]:
        """In whole numbers: weights in 2^-10, biases in 2^-18, with half a step for what rectifiers round."""
        a, b, c = (
            self._layer(layer, rounding) for layer, rounding in ((self.a, 512), (self.b, 512), (self.c, 0))
        )
        return a, b, c

    @staticmethod
    def _layer(layer: nn.Linear, rounding: int) -> Layer:
        weights = np.rint(layer.weight.detach().numpy() * 1024)
        bias = np.rint(layer.bias.detach().numpy() * 2**18) + rounding
        return weights.astype(np.int16), bias.astype(np.int32)


def inputs(data: Prepared, places: Tensor, reads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the network sees at places [B], what it foretells, the step to the sample, and S."""
    lags = torch.arange(2, LAGS + 1)
    scale, last = data.scales[reads][:, None], data.values[places - 1]
    past = (data.values[places[:, None] - lags] - last[:, None]) / scale
    seen = torch.cat([past, data.averages[places], data.constants[reads]], 1).clamp(-MOST, MOST)
    return seen, data.values[places] - last, scale[:, 0]


def bits(out: Tensor, step: Tensor, scale: Tensor) -> Tensor:
    """[B] what a step takes in the mixture: the part of each logistic within half a count of it."""
    weights = torch.log_softmax(out[:, :JOINT] * 0.6931472, 1)
    slopes = torch.exp2(-out[:, 2 * JOINT :].clamp(-6, 10)) * 4.0
    half, off = 0.5 / scale[:, None], step[:, None] / scale[:, None] - out[:, JOINT : 2 * JOINT]
    low, high = (off - half) * slopes, (off + half) * slopes
    # on the side where sigmoids are small, so that their difference is exact
    upper = torch.sigmoid(-low) - torch.sigmoid(-high)
    within = torch.where(off > 0, upper, torch.sigmoid(high) - torch.sigmoid(low)).clamp_min(1e-9)
    return -(torch.logsumexp(weights + torch.log(within), 1)) / 0.6931472


def train(data: Prepared, held: dict[str, Prepared], steps: int, batch: int, lr: float) -> Network:
    """Adam with warm-up and a cosine, on samples drawn by the shares of their reads."""
    torch.manual_seed(0)
    random, network = np.random.default_rng(0), Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=lr, betas=(0.9, 0.99))
    for step in range(steps):
        for group in optimizer.param_groups:
            cosine = 0.5 * (1 + np.cos(np.pi * step / steps)) * 0.99 + 0.01
            group["lr"] = lr * min(1, step / 200) * cosine
        reads = random.choice(len(data.shares), batch, p=data.shares)
        places = data.starts[reads] + (random.random(batch) * data.lengths[reads]).astype(np.int64)
        seen, wanted, scale = inputs(data, torch.from_numpy(places), torch.from_numpy(reads))
        loss = bits(network(seen), wanted, scale).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % REPORT_EVERY == REPORT_EVERY - 1 or step == steps - 1:
            found = ", ".join(f"{name} {measured(network, one):.4f}" for name, one in held.items())
            print(f"step {step + 1}: {loss.item():.4f} bits/sample; held out: {found}", flush=True)
    return network


@torch.no_grad()
def measured(network: Network, data: Prepared) -> float:
    """Bits a sample of every second sample."""
    total = count = 0.0
    for read, (start, length) in enumerate(
        zip(data.starts[:12].tolist(), data.lengths[:12].tolist(), strict=True)
    ):
        places = torch.arange(start, start + length, 2)
        seen, wanted, scale = inputs(data, places, torch.full_like(places, read))
        total += float(bits(network(seen), wanted, scale).sum())
        count += len(places)
    return total / count


def recorded(folder: Path) -> tuple[Prepared, dict[str, Prepared]]:
    """What is learned from, and what is held out."""
    files = [(signals(folder / f"{name}.pod5"), share) for name, share in RECORDINGS.items()]
    held = {
        name: prepare([([read[:EVALUATED] for read in signals(folder / f"{name}.pod5")], 1.0)], {1: 1.0})
        for name in HELD_OUT
    }
    return prepare(files, GRIDS), held


def simulated() -> tuple[Prepared, dict[str, Prepared]]:
    """Built-in reads, to see that it runs."""

    def found(folder: Path) -> Iterator[Whole]:
        write_samples(kind="nanopore", out=folder / "reads", seed=0, size="small")
        for path in sorted(folder.rglob("*.pod5")):
            yield from signals(path)

    with tempfile.TemporaryDirectory() as name:
        reads = list(found(Path(name)))
    return prepare([(reads, 1.0)], GRIDS), {"built-in": prepare([(reads[:1], 1.0)], {1: 1.0})}


def main() -> None:
    """Train, and write the network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the POD5 files")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--quick", action="store_true", help="a few steps on built-in reads")
    options = parser.parse_args()
    if (options.data is None) != options.quick:
        parser.error("give --data or --quick")
    torch.set_num_threads(1)
    data, held = simulated() if options.quick else recorded(options.data)
    steps, batch = (20, 256) if options.quick else (options.steps, 4096)
    network = train(data, held, steps, batch, lr=4e-3)
    options.out.write_bytes(WideNetwork(network.layers()).pack())
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
