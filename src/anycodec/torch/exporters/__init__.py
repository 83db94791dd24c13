"""Our codecs for other libraries, one file a library."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from anycodec.config.run import RunSpec
from anycodec.engine import ExportedCodec, ExportTarget
from anycodec.torch.codecs import Codec


def export(target: ExportTarget, codec: Codec, spec: RunSpec) -> ExportedCodec:
    """The codec of a run for another library; see `anycodec.engine.Engine.export_weights`."""
    exporter: Callable[[Codec, RunSpec], ExportedCodec] = importlib.import_module(
        f"{__name__}.{target}"
    ).export
    return exporter(codec, spec)
