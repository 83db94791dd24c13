"""What is kept on this machine for all runs: converted published weights, compiled programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from anycodec.errors import WeightsError

VARIABLE = "ANYCODEC_CACHE"
"""Environment variable that names the folder."""
XLA_VARIABLE = "XLA_CACHE_DIR"
"""Environment variable that names the folder of compiled programs."""

_WITH_NETWORK = frozenset({"dinov2"})


def cache_folder() -> Path:
    """`$ANYCODEC_CACHE`, or `anycodec` in the user's folder for caches; it need not be there."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser() if chosen else _platform_caches() / "anycodec"


def _platform_caches() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def compiled_programs() -> Path:
    """Where JAX keeps compiled programs: `$XLA_CACHE_DIR`, or `xla` in the cache; it need not be there."""
    chosen = os.environ.get(XLA_VARIABLE)
    return Path(chosen).expanduser() if chosen else cache_folder() / "xla"


def weights_path(name: str) -> Path:
    """The file of the published weights called `name`, which need not be there.

    Safetensors, or an ONNX file that holds the network too.
    """
    return cache_folder() / "weights" / f"{name}.{'onnx' if name in _WITH_NETWORK else 'safetensors'}"


def require_weights(name: str) -> Path:
    """The file of the published weights called `name`.

    Raises:
        WeightsError: it is not there; says which command gets it.
    """
    path = weights_path(name)
    if not path.is_file():
        raise WeightsError(
            f"the weights {name} are not on this machine",
            where=str(path),
            how=f"anycodec weights get {name} (or, from files of your own: "
            f"anycodec weights get {name} --from FILE)",
        )
    return path
