"""The command line itself, and the options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anycodec import __version__
from anycodec.exits import Verbs

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
