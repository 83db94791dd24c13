"""Verbs of generation: latents, samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anycodec.cli.app import Device, Run, app


@app.command()
def latents(
    run: Run,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DIR", help="Files or folders; the codec's training data if none.", show_default=False
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.", show_default=False)],
    device: Device = "auto",
) -> int | None:
    """Encode data with a codec: what generators are trained on."""
    from anycodec.workflows import latents as workflow

    return workflow.run(run, list(inputs or ()), out, device)


@app.command()
def sample(
    run: Run,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.", show_default=False)],
    classes: Annotated[
        str,
        typer.Option(
            "--class",
            metavar="NAME,NAME",
            help="Names or their numbers; none = no class.",
            show_default="all",
        ),
    ] = "",
    count: Annotated[int, typer.Option(min=1, help="Samples a class.")] = 16,
    guidance: Annotated[
        float, typer.Option(min=0, help="1 = as it is, more = more typical of the class.")
    ] = 1.0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the sampler.", show_default="the sampler's")
    ] = None,
    sampler: Annotated[
        Literal["euler", "heun", "ddim", "dpm", "ddpm"] | None,
        typer.Option(help="euler and heun for flow, the others for diffusion.", show_default="the process's"),
    ] = None,
    interval: Annotated[
        str, typer.Option(metavar="FROM,TO", help="Times of guidance, 0 = noise, 1 = data.")
    ] = "0,1",
    guided_channels: Annotated[
        int | None, typer.Option(min=1, help="Latent channels that guidance counts for.", show_default="all")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.01, help="Of generators of tokens.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="Compute precision.")] = "fp32",
    compile_: Annotated[bool, typer.Option("--compile", help="Compile the network first.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Samples at once; less where memory runs out.")] = 64,
    codec: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Its codec.", show_default="where the run says")
    ] = None,
    device: Device = "auto",
) -> int | None:
    """Draw new signals from a generator, or a prior of tokens, as native files."""
    from anycodec.engine import Sampling
    from anycodec.workflows import sample as workflow

    how = Sampling(
        sampler=sampler, steps=steps, guidance=guidance, interval=_interval(interval),
        guided_channels=guided_channels, temperature=temperature, precision=precision, compile=compile_,
        batch=batch,
    )  # fmt: skip
    names = [name for name in classes.split(",") if name.strip()]
    return workflow.run(
        run=run, out=out, classes=names, count=count, seed=seed, how=how, codec=codec, device=device
    )


def _interval(text: str) -> tuple[float, float]:
    """Two times.

    Raises:
        UserError: something else.
    """
    from anycodec.errors import UserError

    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 <= low <= high <= 1:
        raise UserError(f"{text!r} is no interval of times", where="--interval", how="for example 0.125,1")
    return low, high
