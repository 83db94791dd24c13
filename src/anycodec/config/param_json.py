"""The video system's `param.json` as a configuration of ours (`anycodec config convert`).

What each key is here: `anycodec.config.param_json_keys`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from anycodec.config.nearest import did_you_mean
from anycodec.config.param_json_keys import (
    ALL_RENAMED,
    CODEC_RENAMED,
    COMPOSED,
    KNOWN,
    MODELS,
    QUANTIZER_RENAMED,
    RENAMED,
    WITHOUT,
)
from anycodec.config.source import Node, from_plain, read_file
from anycodec.errors import ConfigError, UserError

LAMBDA = 0.8
"""What the video system multiplies the adversarial term by, beside disc_factor."""
NOISE = 0.01
DISCRIMINATOR_EVERY = 3
LEARNING_RATE_EVERY = 1000

_WITH_GAN = tuple(
    key for key in sorted(COMPOSED) if re.match(r"train_args\.(disc_|pixel_loss_|perceptual_loss_)", key)
)


@dataclass(slots=True)
class Converted:
    """A configuration that came from another system.

    Attributes:
        root: our settings, each placed at the line it came from.
        left_out: keys that have no counterpart, and why.
        notes: what is different here although it has a counterpart.
    """

    root: Node
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def put(self, key: str, value: Any, where: str) -> None:
        """Set a dotted key."""
        *parents, name = key.split(".")
        node = self.root
        for parent in parents:
            assert node.section is not None
            node = node.section.setdefault(parent, Node({}, where))
        assert node.section is not None
        node.section[name] = value if isinstance(value, Node) else from_plain(value, where)


def convert_param_json(path: Path) -> Converted:
    """Read a param.json.

    Raises:
        ConfigError: unreadable, unknown keys, or a model that is none of theirs; all in one go.
    """
    root, mistakes = read_file(path)
    given = dict(_leaves(root, ""))
    mistakes += [_unknown(key, node) for key, node in given.items() if key not in KNOWN]
    name = given.get("model_type", Node("VqVae2", str(path)))
    if name.value not in MODELS:
        how = did_you_mean(str(name.value), MODELS) or f"theirs are: {', '.join(MODELS)}"
        mistakes.append(UserError(f"unknown `model_type`: {name.value}", where=name.where, how=how))
    if mistakes:
        raise ConfigError(mistakes)
    return _Conversion(path, given, *MODELS[str(name.value)]).run()


def _leaves(node: Node, prefix: str) -> Iterator[tuple[str, Node]]:
    """Dotted keys of everything that is no section, and of sections whose insides are not ours to read."""
    for name, child in (node.section or {}).items():
        key = f"{prefix}{name}"
        if child.section is None or key in WITHOUT:
            yield key, child
        else:
            yield from _leaves(child, f"{key}.")


def _unknown(key: str, node: Node) -> UserError:
    parent, _, _ = key.rpartition(".")
    siblings = sorted(known for known in KNOWN if known.rpartition(".")[0] == parent)
    question = did_you_mean(key, KNOWN)
    return UserError(
        f"unknown key `{key}`" + (f"; {question}" if question else ""),
        where=node.where,
        how=f"known keys{' of ' + parent if parent else ''}: "
        + ", ".join(known.rpartition(".")[2] for known in siblings or sorted(KNOWN)),
    )


_KINDS: Mapping[type, tuple[type, ...]] = MappingProxyType(
    {bool: (bool,), int: (int,), float: (int, float), str: (str,), list: (list,)}
)


class _Conversion:
    """One file on its way."""

    def __init__(self, path: Path, given: Mapping[str, Node], codec: str, quantizer: str) -> None:
        self.given = given
        self.codec = codec
        self.quantizer = "vq" if quantizer == "ema" and not self._get("model_args.decay", 0.99) else quantizer
        self.where = str(path)
        self.to = Converted(Node({}, self.where))

    def run(self) -> Converted:
        self._start()
        self._rename()
        self._data()
        self._codec()
        self._train()
        self._losses()
        if self._get("train_args.use_gan", True):
            self._adversarial()
        return self.to

    def _get(self, key: str, default: Any) -> Any:
        """A value of theirs, of the kind of its default."""
        node = self.given.get(key)
        if node is None or node.value is None:
            return default
        value = node.plain()
        if not isinstance(value, _KINDS[type(default)]) or isinstance(value, bool) != isinstance(
            default, bool
        ):
            kind = "true or false" if isinstance(default, bool) else f"like {default!r}"
            raise ConfigError([UserError(f"`{key}` must be {kind}, not {value!r}", where=node.where)])
        return value

    def _put(self, key: str, value: Any, source: str = "") -> None:
        node = self.given.get(source)
        self.to.put(key, value, node.where if node else self.where)

    def _start(self) -> None:
        """Sections in our order, types first."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(self._get("project_name", ""))) or "converted"
        self._put("name", name, "project_name")
        self._put("data.type", "image" if self._get("use_images", False) else "video", "use_images")
        self._put("codec.type", self.codec, "model_type")
        self._put("codec.quantizer.type", self.quantizer, "model_type")

    def _rename(self) -> None:
        table = {**RENAMED, **CODEC_RENAMED[self.codec], **QUANTIZER_RENAMED[self.quantizer]}
        for key, node in self.given.items():
            if key in table and node.value is not None:
                self._put(table[key], node, key)
            elif key in WITHOUT:
                self.to.left_out[key] = WITHOUT[key]
            elif key in ALL_RENAMED:
                self.to.left_out[key] = f"{self.codec} with {self.quantizer} has no such setting"

    def _data(self) -> None:
        files = self._get("data_args.training_data_files", [])
        folder = self._get("data_process.train", "")
        if not folder and files:
            folder = os.path.commonpath([str(Path(str(file)).parent) for file in files])
            self.to.notes.append(f"data.root: everything under {folder}, not the files of the list alone")
        if folder:
            self._put("data.root", folder, "data_process.train")
        side = self._get("model_args.ddconfig.resolution", 0)
        if side:
            self._put("data.window.size", [side, side], "model_args.ddconfig.resolution")
        else:
            self.to.notes.append("data.window.size: 128 x 128, param.json does not say")
        if self._get("use_images", False):
            grey = self._get("model_args.input_channels", 3) == 1
            self._put("data.mode", "grey" if grey else "rgb", "model_args.input_channels")
        else:
            self._put(
                "data.window.frames", self._get("data_args.sequence_length", 8), "data_args.sequence_length"
            )

    def _codec(self) -> None:
        if self.quantizer != "optvq":  # theirs start at random, and keep dead codes
            self._put("codec.quantizer.kmeans_init", False)
        self._put("codec.quantizer.restart_after", 0)
        if self.quantizer == "optvq":
            mode = self._get("model_args.normalize_mode", "all")
            self._put("codec.quantizer.cost", "none" if mode == "null" else mode, "model_args.normalize_mode")
        else:
            self._unused("model_args.normalize_mode", f"{self.quantizer} has no such setting")
        if self.codec != "vqgan":
            self._unused("model_args.ddconfig.attn_resolutions", f"{self.codec} has no attention")
        elif "model_args.ddconfig.attn_resolutions" in self.given:
            side = self._get("model_args.ddconfig.resolution", 256)
            resolutions = self._get("model_args.ddconfig.attn_resolutions", [])
            levels = [int(side // max(1, resolution)).bit_length() - 1 for resolution in resolutions]
            self._put("codec.attention_levels", levels, "model_args.ddconfig.attn_resolutions")

    def _train(self) -> None:
        pictures = self._get("data_args.sequence_length", 8) if self._get("use_images", False) else 1
        self._put("train.batch_size", self._get("data_args.batch_size", 4) * pictures, "data_args.batch_size")
        self._put("train.optimizer.betas", [0.5, 0.9] if self.codec == "vqgan" else [0.9, 0.999])
        if "train_args.lr_decay" in self.given:
            self._put("train.schedule.type", "exponential", "train_args.lr_decay")
            self._put("train.schedule.every", LEARNING_RATE_EVERY, "train_args.lr_decay")
        self._put("train.clip", None)
        self._put("train.best.metric", "val/psnr")
        device = str(self._get("train_args.device", "auto")).partition(":")[0]
        self._put("train.device", device, "train_args.device")
        if self._get("use_wandb", False):
            self._put("train.wandb.project", self._get("project_name", "anycodec"), "project_name")

    def _losses(self) -> None:
        if not self._get("train_args.use_gan", True):
            self._put("losses.mse.type", "mse", "train_args.use_gan")
            for key in _WITH_GAN:
                self._unused(key, "not in use there either: train_args.use_gan is false")
            return
        self._put("losses.l1.type", "l1")
        self._put(
            "losses.l1.weight", self._get("train_args.pixel_loss_factor", 1.0), "train_args.pixel_loss_factor"
        )
        perceptual = self._get("train_args.perceptual_loss_factor", 1.0)
        if perceptual:
            self._put("losses.lpips.type", "lpips")
            self._put("losses.lpips.weight", perceptual, "train_args.perceptual_loss_factor")
            self.to.notes.append("losses.lpips needs weights once: anycodec weights get lpips-vgg")

    def _unused(self, key: str, reason: str) -> None:
        if key in self.given:
            self.to.left_out[key] = reason

    def _adversarial(self) -> None:
        steps, start = self._get("train_args.num_steps", 100_000), self._get("train_args.disc_start", 20_000)
        if start >= steps:
            self.to.notes.append(f"no adversarial section: disc_start {start} is after the last step {steps}")
            return
        lead = min(500, start)
        weight = self._get("train_args.disc_factor", 1.0) * self._get("train_args.disc_weight", LAMBDA)
        self._put("adversarial.weight", round(weight, 12), "train_args.disc_factor")
        self._put("adversarial.start", start, "train_args.disc_start")
        self._put("adversarial.lead", lead, "train_args.disc_start")
        self._put("adversarial.optimizer.lr", self._get("train_args.disc_lr", 1e-5), "train_args.disc_lr")
        betas = [self._get("train_args.disc_beta1", 0.5), self._get("train_args.disc_beta2", 0.9)]
        self._put("adversarial.optimizer.betas", betas, "train_args.disc_beta1")
        self._put("adversarial.clip", None)
        if self.codec != "vqgan":
            self._put("adversarial.every", DISCRIMINATOR_EVERY)
            self._noise(steps, start - lead)
        self.to.notes.append(
            f"adversarial.weight: disc_factor x disc_weight, {LAMBDA} where that is not given; "
            "adversarial.lead and ramp are ours, 0 for an abrupt start like theirs"
        )

    def _noise(self, steps: int, begin: int) -> None:
        """Theirs is .01 (1 - 2 step / num_steps) while positive, ours begins with the discriminator."""
        left = steps // 2 - begin
        if left > 0:
            self._put("adversarial.noise.scale", round(NOISE * (1 - 2 * begin / steps), 12))
            self._put("adversarial.noise.steps", left)
