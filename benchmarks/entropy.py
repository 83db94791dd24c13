"""The entropy coder of `.acz` files against what it could be.

Tokens of a skewed source (Zipf frequencies in random order, like a trained codebook's), coded by

* `anycodec.bitstream.entropy.AdaptiveCoder` from training counts of another draw of the source,
  and from none at all,
* constriction's range coder bare, with a static model of the file's own counts: it knows what no
  coder knows beforehand, and its table (2 bytes a code) is not counted,
* zlib and lzma on the tokens as uint16.

Bits a symbol stand beside the empirical entropy; speeds are in million symbols a second.
"""

from __future__ import annotations

import lzma
import statistics
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

import common
from anycodec.bitstream.entropy import AdaptiveCoder

SIZES = (256, 4096, 16384)
ZIPF = 0.9
MOST_OVER_ENTROPY = 1.02
"""Bits over the empirical entropy with training counts. A target of ours, not of the issue."""

Symbols = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Coder:
    encode: Callable[[Symbols], Any]
    decode: Callable[[Any], Symbols]
    n_bytes: Callable[[Any], int]


def draw(size: int, n: int, rng: np.random.Generator, order: NDArray[np.int64]) -> Symbols:
    weights = np.arange(1, size + 1, dtype=np.float64) ** -ZIPF
    ranks = rng.choice(size, n, p=weights / weights.sum())
    return order[ranks]


def adaptive(counts: NDArray[np.int64], n: int) -> Coder:
    coder = AdaptiveCoder([counts])
    return Coder(lambda x: coder.encode(x, 0), lambda data: coder.decode(data, n, 0), len)


def static(symbols: Symbols, size: int) -> Coder:
    counts = np.bincount(symbols, minlength=size).astype(np.float64)
    model = constriction.stream.model.Categorical(counts / counts.sum(), perfect=False)

    def encode(x: Symbols) -> Any:
        encoder = constriction.stream.queue.RangeEncoder()
        encoder.encode(x.astype(np.int32), model)
        return encoder.get_compressed()

    def decode(words: Any) -> Symbols:
        return constriction.stream.queue.RangeDecoder(words).decode(model, len(symbols)).astype(np.int64)

    return Coder(encode, decode, lambda words: words.nbytes)


def general(compress: Callable[[bytes], bytes], decompress: Callable[[bytes], bytes]) -> Coder:
    return Coder(
        lambda x: compress(x.astype("<u2").tobytes()),
        lambda data: np.frombuffer(decompress(data), "<u2").astype(np.int64),
        len,
    )


def entropy(symbols: Symbols, size: int) -> float:
    """Order-0 entropy of these symbols, bits a symbol."""
    p = np.bincount(symbols, minlength=size) / len(symbols)
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def measure(size: int, n: int, repeats: int) -> dict[str, Any]:
    rng = np.random.default_rng(size)
    order = rng.permutation(size)
    training, symbols = draw(size, 8 * n, rng, order), draw(size, n, rng, order)
    coders = {
        "anycodec, training counts": adaptive(np.bincount(training, minlength=size), n),
        "anycodec, no counts": adaptive(np.zeros(size, np.int64), n),
        "constriction, static model": static(symbols, size),
        "zlib uint16": general(zlib.compress, zlib.decompress),
        "lzma uint16": general(lzma.compress, lzma.decompress),
    }
    coded = {name: coder.encode(symbols) for name, coder in coders.items()}
    for name, coder in coders.items():
        if not np.array_equal(coder.decode(coded[name]), symbols):
            raise RuntimeError(f"{name} does not restore the symbols")
    encode = common.in_turns(
        {n_: lambda c=c: common.seconds(lambda: c.encode(symbols)) for n_, c in coders.items()}, repeats
    )
    decode = common.in_turns(
        {n_: lambda c=c, n_=n_: common.seconds(lambda: c.decode(coded[n_])) for n_, c in coders.items()},
        repeats,
    )
    bound = entropy(symbols, size)
    return {
        "codes": size,
        "symbols": n,
        "entropy": bound,
        "coders": {
            name: {
                "bits_per_symbol": (bits := 8 * coder.n_bytes(coded[name]) / n),
                "over_entropy": bits / bound,
                "encode_msymbols_per_s": n / statistics.median(encode[name]) / 1e6,
                "decode_msymbols_per_s": n / statistics.median(decode[name]) / 1e6,
                "encode_time_of_static": common.ratio(encode, name, "constriction, static model"),
                "decode_time_of_static": common.ratio(decode, name, "constriction, static model"),
            }
            for name, coder in coders.items()
        },
    }


def main() -> None:
    options = common.arguments(__doc__).parse_args()
    n, repeats = (2**14, 1) if options.quick else (2**18, 5)
    tables = [measure(size, n, repeats) for size in SIZES]
    for table in tables:
        print(f"K = {table['codes']}, {n} symbols, entropy {table['entropy']:.4f} bits/symbol")
        for name, row in table["coders"].items():
            print(
                f"  {name:28} {row['bits_per_symbol']:8.4f} bits/symbol  x{row['over_entropy']:.4f}   "
                f"encode {row['encode_msymbols_per_s']:7.2f}  decode {row['decode_msymbols_per_s']:7.2f} M/s"
            )
    claims = [
        common.verdict(
            f"K = {table['codes']}: bits over the entropy, with training counts",
            table["coders"]["anycodec, training counts"]["over_entropy"],
            MOST_OVER_ENTROPY,
            below=True,
        )
        for table in tables
    ]
    common.save("entropy", options, {"claims": claims, "tables": tables})


if __name__ == "__main__":
    main()
