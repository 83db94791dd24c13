"""`anycodec export`: run directory -> a model folder of another library."""

from __future__ import annotations

import json
from pathlib import Path

from anycodec.atomic import atomic_folder, atomic_write
from anycodec.checkpoint import RunDirectory, write_arrays
from anycodec.engine import ExportTarget, get_engine
from anycodec.errors import RunError
from anycodec.workflows.console import out as console
from anycodec.workflows.import_ import FOLDER_CONFIG, FOLDER_WEIGHTS


def run(run: Path, to: ExportTarget, out: Path) -> int:
    """Write a run's codec as `config.json` and safetensors of another library.

    Raises:
        RunError: not a finished run, a codec that the library does not have, or a folder in use.
    """
    source = RunDirectory(run)
    spec, fingerprint = source.spec(), source.fingerprint()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError("the folder is not empty", where=str(out), how="choose another with -o")
    in_channels = int(source.read_manifest()["in_channels"])
    exported = get_engine(spec.engine).export_weights(to, spec, in_channels, source.weights)
    with atomic_folder(out) as folder:
        write_arrays(folder / FOLDER_WEIGHTS[0], exported.tensors, {"format": "pt", "anycodec": fingerprint})
        atomic_write(folder / FOLDER_CONFIG, json.dumps(exported.settings, indent=2) + "\n")
    console.print(f"written: [bold]{out}[/bold], for {to}")
    return 0
