"""Verbs of configurations and published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anycodec.cli.app import Config, Overrides, config_app, weights_app

KindName = Annotated[
    Literal["codec", "generator", "features", "prior", "augmentation"],
    typer.Option(help="What the run is of."),
]


@config_app.command("keys")
def config_keys(*, kind: KindName = "codec") -> None:
    """Every key with its type, default and meaning."""
    from anycodec.workflows import config as workflow

    workflow.keys(kind)


@config_app.command("schema")
def config_schema(*, kind: KindName = "codec") -> None:
    """The JSON schema, for editors."""
    from anycodec.workflows import config as workflow

    workflow.schema(kind)


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
