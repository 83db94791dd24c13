"""Bases called within bounds of the error: SZ3 beside anycodec, and beside dropped bits.

Every form of a POD5 file is stored and restored, and its reads are called: the identity to the reference, and
to the calls of the original. Of SZ3, which gets the ADC counts of each read, payloads alone count;
of anycodec all bytes of the file.

    python benchmarks/bases_within_bounds.py --run RUN [--files FILE.pod5 --reference FILE.fasta]

Needs the weights of the basecaller (`anycodec weights get bonito-r941`) and `pip install pysz`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import classics_lossless as lossless
import common
from anycodec.engine import BasecallerName
from anycodec.io.pod5_adc import Counts, adc_reads, write_changed
from anycodec.metrics.bases import Reference
from anycodec.workflows.basecall_results import BasecallEvaluation
from anycodec.workflows.basecallers import Basecaller, CommandCaller, NetworkCaller
from anycodec.workflows.basecalls import evaluate_file
from anycodec.workflows.console import out as console
from anycodec.workflows.samples import run as write_samples
from anycodec.workflows.variants import Bounded, Coded, Kind, Lossless, Sizes, Truncated, Variant

CALLER: BasecallerName = "bonito-r941"
BITS = (3, 4, 5)
"""Dropped; bounds are the ADC counts that dropping as many may be off by."""
TINY = [
    "data.workers=0", "train.steps=2", "train.val_every=2", "train.batch_size=2", "codec.channels=4",
]  # fmt: skip
"""Settings of --quick."""
SIGNS = (
    "import pod5, sys\n"
    "for read in pod5.Reader(sys.argv[1]).reads():\n"
    "    print(f'>{read.read_id}'); print(''.join('ACGT'[x // 64 % 4] for x in read.signal[:999:9]))\n"
)
"""Stands for a basecaller in --quick: a letter for the level of each ninth sample."""


class Sz3:
    """Within so many counts, each read for itself."""

    kind: ClassVar[Kind] = "bound"

    def __init__(self, most: int) -> None:
        self.name = f"SZ3, within {most}"
        self._pack, self._unpack = lossless.sz3(most)

    def restore(self, source: Path, folder: Path) -> tuple[Path, Sizes]:
        target = folder / source.name
        write_changed(source, target, self._again)
        return target, {"samples": sum(self._pack(read.adc).nbytes for read in adc_reads(source))}

    def _again(self, adc: Counts) -> Counts:
        return self._unpack(self._pack(adc), len(adc))


def variants(run: Path, bits: Sequence[int]) -> list[Variant]:
    """The original, dropped bits, SZ3 within the same where there is pysz, and anycodec."""
    coded = Coded(run, run.name, "cpu")
    bounds = [1 << dropped >> 1 for dropped in bits]
    found: list[Variant] = [Lossless(), *map(Truncated, bits)]
    if find_spec("pysz"):
        found += map(Sz3, bounds)
    else:
        print("SZ3 is left out: pip install pysz")
    return [*found, *(Bounded(coded, most) for most in bounds), coded]


def claims(evaluation: BasecallEvaluation) -> list[dict[str, object]]:
    """Bits beside SZ3's within the same bound."""
    bits = {one.variant: one.bits_per_sample for one in evaluation.summaries()}
    return [
        common.verdict(f"bits {ours} counts over SZ3's", bits[ours] / bits[theirs], 1, below=True)
        for ours in bits
        if (theirs := f"SZ3, {ours}") in bits
    ]


def quick(folder: Path) -> tuple[argparse.Namespace, Basecaller]:
    """Options and a caller that stand for a run of two steps on built-in current."""
    write_samples(kind="nanopore", out=folder / "data", seed=0, size="small")
    config, run, root = common.ROOT / "configs" / "nanopore-trellis.yaml", folder / "run", folder / "data"
    common.run(common.anycodec("train", config, *TINY, f"data.root={root}", "--quiet", "--out", run))
    script = folder / "signs.py"
    script.write_text(SIGNS)
    files = [next(root.rglob("*.pod5"))]
    caller = CommandCaller(f"{sys.executable} {script} {{pod5}}")
    return argparse.Namespace(run=run, files=files, reference=None), caller


def options_of() -> argparse.Namespace:
    parser = common.arguments(__doc__)
    data = common.REAL_DATA / "nanopore"
    parser.add_argument("--run", type=Path, help="run of POD5 data, itself called too")
    parser.add_argument("--files", type=Path, nargs="+", default=[data / "r941_lambda.pod5"])
    parser.add_argument("--reference", type=Path, default=data / "lambda_phage.fna")
    options: argparse.Namespace = parser.parse_args()
    if not (options.run or options.quick):
        parser.error("--run is needed")
    return options


def main() -> None:
    options = options_of()
    with common.workspace() as folder:
        used, caller = quick(folder) if options.quick else (options, NetworkCaller(CALLER, "cpu"))
        aligner = None if used.reference is None else Reference(used.reference)
        evaluation = BasecallEvaluation(
            basecaller=caller.name,
            reference=None if used.reference is None else used.reference.name,
            min_samples=0,
            skipped=[],
        )
        forms = variants(used.run, BITS[: 1 if options.quick else None])
        for file in used.files:
            evaluate_file(evaluation, file, forms, caller, aligner)
    console.print(evaluation.table())
    found = {"claims": claims(evaluation), "rows": [asdict(one) for one in evaluation.summaries()]}
    common.save("bases_within_bounds", options, found)


if __name__ == "__main__":
    main()
