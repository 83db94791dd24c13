"""`--slurm`: a sweep as one array job, to be submitted with sbatch."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from anycodec.workflows.sweeps.folder import SweepFolder
from anycodec.workflows.sweeps.state import SweepState

_SCRIPT = """\
#!/bin/bash
# {count} runs of an anycodec sweep. Options of sbatch on its command line win:
#   sbatch --partition=NAME --time=24:00:00 {script}
# Two minutes before its time is up, a run writes a checkpoint; requeued or submitted again, it goes on from
# there. At the end, for the summary:
#   anycodec sweep --resume --out {folder}
#SBATCH --job-name=anycodec-sweep
#SBATCH --array=0-{last}{limit}
#SBATCH --output={folder}/logs/slurm-%A_%a.log
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
{resources}
set -euo pipefail

names=(
{names}
)
name=${{names[$SLURM_ARRAY_TASK_ID]}}
folder={folder}
resume=()
if [ -f "$folder/runs/$name/config.yaml" ]; then resume=(--resume); fi

cd {working}
exec {python} -m anycodec train "$folder/configs/$name.yaml" --out "$folder/runs/$name" "${{resume[@]}}" \\
    ${{SLURM_CPUS_PER_TASK:+train.threads=$SLURM_CPUS_PER_TASK}}
"""


def sbatch_script(folder: SweepFolder, state: SweepState, *, on_gpu: bool, at_a_time: int | None) -> str:
    """The script of an array job with a task a run.

    Args:
        folder: of the sweep, on a file system that the nodes share.
        state: its runs.
        on_gpu: whether a task asks for a GPU.
        at_a_time: tasks at a time; None = as many as there is room for.
    """
    names: Sequence[str] = [job.name for job in state.jobs]
    return _SCRIPT.format(
        count=len(names),
        script=shlex.quote(str(folder.script)),
        folder=shlex.quote(str(folder.path)),
        last=len(names) - 1,
        limit=f"%{at_a_time}" if at_a_time else "",
        resources="#SBATCH --gpus=1" if on_gpu else "#SBATCH --cpus-per-task=1",
        names="\n".join(f"    {name}" for name in names),
        working=shlex.quote(state.working),
        python=shlex.quote(sys.executable),
    )
