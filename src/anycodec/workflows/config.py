"""What `anycodec config` shows."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from anycodec.config.loader import config_keys, dump_spec, json_schema, load_spec
from anycodec.config.run import RunSpec, window_shape
from anycodec.workflows.console import out


def keys() -> None:
    """Every setting with its type, default and meaning; four columns by tabs where piped."""
    for key in config_keys():
        if out.is_terminal:
            default = key.default if key.default == "required" else f"default {key.default}"
            out.print(Text.assemble((key.key, "bold"), f"  {key.type}  ({default})"))
            out.print(Text(f"    {key.description}", style="dim"))
        else:
            print(key.key, key.type, key.default, key.description, sep="\t")


def schema() -> None:
    """The JSON schema."""
    print(json.dumps(json_schema(), indent=2))


def show(config: Path, overrides: list[str]) -> None:
    """The resolved configuration as YAML.

    Raises:
        ConfigError: mistakes in the configuration; data need not be there.
    """
    print(dump_spec(load_spec(config, overrides, check_paths=False)), end="")


def check(config: Path, overrides: list[str]) -> None:
    """Validate only, and say in one line what it comes to.

    Raises:
        ConfigError: mistakes in the configuration, a missing data folder among them.
    """
    print(f"OK  {summary(load_spec(config, overrides))}")


def summary(spec: RunSpec) -> str:
    """One line: codec, window, tokens a window and the rate before entropy coding.

    The nominal rate counts log2(codebook size) bits a token of each level, over the values at one channel.
    """
    codec, shape = spec.codec, window_shape(spec.data, spec.codec.axes)
    extent = " x ".join(map(str, shape))
    unit, value = ("samples", "sample") if len(shape) == 1 else ("pixels", "pixel")
    grids = [
        math.prod(size // step for size, step in zip(shape, stride, strict=True))
        for stride in codec.token_strides
    ]
    tokens = _tokens(codec.codebook_sizes, grids, math.prod(shape), value)
    return (
        f"{spec.name}: {spec.data.type} -> {codec.type} with {codec.bottleneck}; "
        f"window {extent} {unit}, {tokens}; {spec.train.steps} steps on {spec.engine}"
    )


def _tokens(sizes: tuple[int, ...], grids: Sequence[int], values: int, value: str) -> str:
    """What a window of `values` values becomes: a grid of tokens for each codebook, or of latents."""
    if not sizes:
        return f"{grids[0]} continuous latents"
    bits = sum(tokens * math.log2(size) for tokens, size in zip(grids, sizes, strict=True)) / values
    codes = " + ".join(map(str, sizes))
    return f"{sum(grids)} tokens of {codes} codes, nominally {bits:.4g} bits/{value}"
