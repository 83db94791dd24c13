"""Many trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anycodec.cli.app import app


@app.command()
def sweep(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONFIG|DIR|KEY=VALUE",
            help="Configurations, folders of them, and settings laid over all.",
            show_default=False,
        ),
    ] = None,
    *,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V,V", help="A setting that varies; again for more, all combinations are trained."
        ),
    ] = None,
    optuna: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Search: train N runs with settings chosen from --search."),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=RANGE",
            help="What the search may choose: LOW..HIGH, LOW..HIGH:log or V,V; again for more.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Column of metrics.csv that ranks the runs.",
            show_default="train.best.metric",
        ),
    ] = None,
    gpus: Annotated[
        str | None, typer.Option(metavar="N,N", help="GPUs to train on.", show_default="all there are")
    ] = None,
    per_gpu: Annotated[int, typer.Option(min=1, help="Trainings on a GPU at a time.")] = 1,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Trainings at a time on processors.", show_default="1")
    ] = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Where trainings run: this machine, or a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster.", show_default="a Ray of this machine")
    ] = None,
    retries: Annotated[int, typer.Option(min=0, help="Further attempts of a run that failed.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep in that folder.")] = False,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Start nothing; write an array job for sbatch, a GPU a run.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the sweep.")] = Path("runs/sweep"),
) -> int | None:
    """Train many configurations on the GPUs or processors of this machine, or of a Ray cluster."""
    from anycodec.workflows import sweep as workflow

    words = inputs or []
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    request = workflow.Request(
        configs=[Path(word) for word in words if word not in overrides], overrides=overrides,
        grid=grid or (), search=search or (), trials=optuna, metric=metric,
    )  # fmt: skip
    allocation = workflow.Allocation(gpus=gpus, per_gpu=per_gpu, slots=slots, engine=engine, address=address)
    if slurm:
        return workflow.write_slurm(request, out, allocation)
    return workflow.run(request, out, allocation=allocation, retries=retries, resume=resume)
