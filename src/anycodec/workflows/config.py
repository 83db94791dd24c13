"""What `anycodec config` shows."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from anycodec.atomic import atomic_write
from anycodec.config.augmentation import AugmentationRunSpec
from anycodec.config.base import Spec
from anycodec.config.features_run import FeaturesRunSpec
from anycodec.config.generation import GeneratorRunSpec
from anycodec.config.generator import GeneratorSpec
from anycodec.config.kinds import CODEC, KINDS
from anycodec.config.loader import (
    check_tree,
    config_keys,
    dump_settings,
    dump_spec,
    json_schema,
    load_any,
)
from anycodec.config.param_json import Converted, convert_param_json
from anycodec.config.prior import PriorRunSpec
from anycodec.config.process import ProcessSpec
from anycodec.config.run import RunSpec, window_shape
from anycodec.workflows.console import out


def keys(kind: str) -> None:
    """Every setting of a kind of run with its type, default and meaning; four columns by tabs where piped."""
    for key in config_keys(KINDS[kind]):
        if out.is_terminal:
            default = key.default if key.default == "required" else f"default {key.default}"
            out.print(Text.assemble((key.key, "bold"), f"  {key.type}  ({default})"))
            out.print(Text(f"    {key.description}", style="dim"))
        else:
            print(key.key, key.type, key.default, key.description, sep="\t")


def schema(kind: str) -> None:
    """The JSON schema of a kind of run."""
    print(json.dumps(json_schema(KINDS[kind]), indent=2))


def show(config: Path, overrides: list[str]) -> None:
    """The resolved configuration as YAML.

    Raises:
        ConfigError: mistakes in the configuration; data need not be there.
    """
    _, spec = load_any(config, overrides, check_paths=False)
    print(dump_spec(spec), end="")


def check(config: Path, overrides: list[str]) -> None:
    """Validate only, and say in one line what it comes to.

    Raises:
        ConfigError: mistakes in the configuration, a missing data folder among them.
    """
    _, spec = load_any(config, overrides)
    print(f"OK  {summary(spec)}")


def convert(param_json: Path, out_path: Path | None) -> None:
    """Write the video system's param.json as a configuration of ours, to a file or to standard output.

    Raises:
        ConfigError: unknown keys, or values that no setting of ours takes; places are those of param.json.
    """
    converted = convert_param_json(param_json)
    spec = check_tree(converted.root, kind=CODEC, check_paths=False)
    config = out_path or Path("run.yaml")
    text = _heading(converted, param_json, config) + dump_settings(converted.root.plain())
    if out_path is None:
        print(text, end="")
        return
    atomic_write(out_path, text)
    for key, reason in converted.left_out.items():
        out.print(Text.assemble("left out  ", (key, "bold"), f": {reason}"), soft_wrap=True)
    for note in converted.notes:
        out.print(Text(f"note      {note}"), soft_wrap=True)
    out.print(Text(f"{out_path}: {summary(spec)}"), soft_wrap=True)


def _heading(converted: Converted, source: Path, config: Path) -> str:
    lines = [f"Converted from {source.name}", "", f"  anycodec train {config} --out runs/{config.stem}"]
    if converted.notes:
        lines += ["", "Different here:", *(f"  {note}" for note in converted.notes)]
    if converted.left_out:
        left_out = (f"  {key}: {reason}" for key, reason in converted.left_out.items())
        lines += ["", "Without a counterpart:", *left_out]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def summary(spec: Spec) -> str:
    """One line that says what a configuration comes to."""
    match spec:
        case RunSpec():
            return _codec_summary(spec)
        case GeneratorRunSpec():
            what = f"{_generator(spec.generator, spec.process)} on {spec.latents}"
        case FeaturesRunSpec():
            what = f"{spec.data.type} -> features by {spec.features.objective.type}"
        case PriorRunSpec():
            what = f"a prior of the tokens of {spec.codec}, {spec.prior.width} wide"
        case AugmentationRunSpec():
            codec, stage = spec.codec_run(spec.data), spec.generator_run(Path("latents"))
            return (
                f"{spec.name}: {spec.data.type} -> {codec.codec.type}, {codec.train.steps} steps -> "
                f"{_generator(stage.generator, stage.process)}, {stage.train.steps} steps -> samples -> study"
            )
        case _:
            raise AssertionError(f"nothing says what a {type(spec).__name__} comes to")
    return f"{spec.name}: {what}; {spec.train.steps} steps on torch"


def _generator(spec: GeneratorSpec, process: ProcessSpec | None) -> str:
    return spec.type + (f" by {process.type}" if process else "")


def _codec_summary(spec: RunSpec) -> str:
    """Codec, window, tokens a window and the rate before entropy coding.

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
