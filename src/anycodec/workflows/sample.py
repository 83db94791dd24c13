"""`anycodec sample`: a trained generator -> native files of new signals."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from anycodec.atomic import atomic_folder, atomic_write
from anycodec.checkpoint import RunDirectory
from anycodec.config.generation import GeneratorRunSpec
from anycodec.config.kinds import CODEC, GENERATOR, PRIOR
from anycodec.config.nearest import did_you_mean
from anycodec.engine import GeneratorRuntime, LatentSizes, Sampling, Windows, get_engine
from anycodec.errors import RunError, UserError
from anycodec.types import Affine, Tokens
from anycodec.workflows.console import out as console
from anycodec.workflows.contact_sheet import ContactSheet
from anycodec.workflows.native import Named, NativeWriter
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.progress import track
from anycodec.workflows.sample_prior import TrainedPrior

MANIFEST = "samples.json"
NO_CLASS = "none"
"""What stands for samples without a class."""


@dataclass(frozen=True, slots=True)
class Group:
    """Samples of one class.

    Attributes:
        name: of the class, "" = none.
        label: its number, -1 = none.
    """

    name: str
    label: int


class TrainedGenerator:
    """A generator's run with its codec, ready to draw samples.

    Args:
        run: the generator's run directory.
        codec: its codec's, where that has moved; None = where the run says.
        device: auto, cpu or cuda.

    Raises:
        RunError: not a finished run of a generator, or a codec that is not its own.
    """

    def __init__(self, run: Path, codec: Path | None = None, device: str = "auto") -> None:
        self.run = RunDirectory(run)
        _check_kind(self.run)
        spec: GeneratorRunSpec = self.run.spec_of(GENERATOR)
        manifest = self.run.read_manifest()
        if not self.run.weights.is_file():
            raise RunError(
                "the generator has no weights yet", where=str(run), how="train it on: anycodec train --resume"
            )
        if manifest.get("imported", {}).get("note"):
            raise RunError(manifest["imported"]["note"], where=str(run))
        try:
            described = manifest["latents"]
            self.classes = tuple(str(name) for name in described["classes"])
            self.sizes = LatentSizes(
                shape=tuple(described["shape"]),
                n_classes=len(self.classes),
                grids=tuple(tuple(grid) for grid in described["grids"]),
                codebook_sizes=tuple(described["codebook_sizes"]),
                mean=tuple(described["mean"]),
                std=tuple(described["std"]),
            )
            self.native: dict[str, Any] = described["native"]
            fingerprint, path = str(manifest["codec"]["fingerprint"]), Path(manifest["codec"]["path"])
        except (KeyError, TypeError, ValidationError) as error:
            raise RunError(f"the manifest of the generator lacks {error}", where=str(run)) from error
        self.codec = open_codec(codec or path, fingerprint, device)
        self.codec.require_own_channels()
        self.runtime: GeneratorRuntime = get_engine("torch").load_generator(
            spec, self.sizes, self.run.weights, device
        )
        statistics = self.run.read_statistics()
        self._shift, self._scale = statistics["shift"], statistics["scale"]
        self._labels = statistics["labels"]
        self._codec_classes: list[str] = list(self.codec.manifest.get("classes", []))

    @property
    def source(self) -> dict[str, str]:
        """What samples say of where they come from."""
        return {"latents": str(self.run.read_manifest()["latents"]["fingerprint"])}

    def draw(self, group: Group, numbers: Sequence[int], seed: int, how: Sampling) -> Iterator[Windows]:
        """Batches of windows [k C *s] in the unit of the data.

        A sample depends on the seed, its class and its number alone.

        Args:
            group: its class.
            numbers: of the samples within the class.
            seed: of everything.
            how: settings.
        """
        labels = np.full(len(numbers), group.label, np.int64)
        seeds = [_seed(seed, group, number) for number in numbers]
        done = 0
        for batch in self.runtime.sample(labels, seeds, how):
            windows = self._decoded(batch, group)
            rows = [self._statistics_row(seed, group, n) for n in numbers[done : done + len(windows)]]
            affine = Affine(self._shift[rows], self._scale[rows])
            yield self.codec.normalizer.invert(windows, affine)
            done += len(windows)

    def _decoded(self, batch: NDArray[np.float32] | Tokens, group: Group) -> Windows:
        if isinstance(batch, Tokens):
            return self.codec.codec.decode(batch)
        known = group.name in self._codec_classes
        number = self._codec_classes.index(group.name) if known else -1
        labels = np.full(len(batch), number, np.int64) if self._codec_classes else None
        return self.codec.codec.decode_latents(batch, labels)

    def _statistics_row(self, seed: int, group: Group, number: int) -> int:
        """A training window of the class, from which the sample gets its mean and scale."""
        rows = np.flatnonzero(self._labels == group.label)
        rows = rows if len(rows) else np.arange(len(self._labels))
        return int(np.random.default_rng((seed, group.label + 1, number)).choice(rows))


def run(
    run: Path,
    *,
    out: Path,
    classes: Sequence[str] = (),
    count: int = 16,
    seed: int = 0,
    how: Sampling | None = None,
    codec: Path | None = None,
    device: str = "auto",
) -> int:
    """Write samples as native files, a folder a class.

    Args:
        run: the generator's run.
        out: a new or empty folder.
        classes: names or their numbers, "none" = without a class; () = all.
        count: samples a class.
        seed: the same seed gives the same files.
        how: settings.
        codec: its codec's run, where that has moved.
        device: auto, cpu or cuda.

    Raises:
        RunError: no run of a generator, or a codec that is not its own.
        UserError: a class or a sampler that does not exist, or a folder in use.
        ResourceError: the disk or the memory is full.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError("the folder is not empty", where=str(out), how="give a new folder with -o")
    generator = open_generator(run, codec, device)
    groups = choose_groups(classes, generator.classes)
    settings = how or Sampling()
    writer, sheet = NativeWriter(generator.native), ContactSheet(generator.native)
    files: list[dict[str, Any]] = []
    with atomic_folder(out) as folder:
        for group in track(groups, len(groups), "sampling"):
            inside = folder / group.name if group.name else folder
            inside.mkdir(exist_ok=True)
            windows = _named(_drawn(generator, group, range(count), seed, settings), group, sheet)
            written = writer.write(inside, windows, group.name or "samples")
            files += [
                {"file": p.relative_to(folder).as_posix(), "class": group.name or None} for p in written
            ]
        about = {
            "generator": str(run), "seed": seed, "count": count, "codec": generator.codec.fingerprint,
            **generator.source,
            "how": {name: value for name, value in asdict(settings).items() if name != "batch"},
            "files": files,
        }  # fmt: skip
        atomic_write(folder / MANIFEST, json.dumps(about, indent=1, sort_keys=True) + "\n")
    picture = out.with_name(f"{out.name}.contact-sheet.png")
    atomic_write(picture, sheet.png())
    console.print(f"{len(groups) * count} samples in {len(files)} files under [bold]{out}[/bold]")
    console.print(f"a look at them: {picture}", markup=False)
    return 0


def open_generator(run: Path, codec: Path | None, device: str) -> TrainedGenerator | TrainedPrior:
    """The run of a generator or of a prior, ready to draw samples; arguments and errors as there."""
    kind = TrainedPrior if RunDirectory(run).kind() is PRIOR else TrainedGenerator
    return kind(run, codec, device)


def _drawn(
    generator: TrainedGenerator | TrainedPrior, group: Group, numbers: Sequence[int], seed: int, how: Sampling
) -> Iterator[Windows]:
    if isinstance(generator, TrainedPrior):
        return generator.draw(numbers, seed, how)
    return generator.draw(group, numbers, seed, how)


def open_codec(path: Path, fingerprint: str, device: str = "auto") -> Pipeline:
    """The codec whose latents a generator makes.

    Raises:
        RunError: it is not there, or another one.
    """
    found = RunDirectory(path)
    if not found.config.is_file():
        raise RunError(
            "the codec of this generator is not there", where=str(path), how="say where it is: --codec RUN"
        )
    if found.fingerprint() != fingerprint:
        raise RunError(
            "generator and codec don't belong together: this codec did not make the generator's latents",
            where=str(path),
            how="give the codec that made the latents with --codec RUN, or make the latents and train again",
        )
    return Pipeline(found, device)


def choose_groups(wanted: Sequence[str], classes: Sequence[str]) -> list[Group]:
    """The classes that a user means: by name, or by the number that a name ends with.

    Raises:
        UserError: there is no such class; names the nearest.
    """
    if not wanted:
        return [Group(name, label) for label, name in enumerate(classes)] or [Group("", -1)]
    return [_group(name.strip(), classes) for name in wanted]


def _group(name: str, classes: Sequence[str]) -> Group:
    if name == NO_CLASS and name not in classes:
        return Group("", -1)
    matches = [c for c in classes if c == name] or [c for c in classes if _number(c) == name]
    if len(matches) == 1:
        return Group(matches[0], classes.index(matches[0]))
    if not classes:
        what, how = "this generator knows no classes", "leave --class out"
    else:
        near = did_you_mean(name, classes)
        what = f"there is no class {name!r}" + (f"; {near}" if near else "")
        shown = ", ".join(classes[:12]) + (f", ... ({len(classes)} in all)" if len(classes) > 12 else "")
        how = f"classes: {shown}; or {NO_CLASS}"
    raise UserError(what, where="--class", how=how)


def _number(name: str) -> str | None:
    found = re.search(r"(\d+)$", name)
    return found[1].lstrip("0") or "0" if found else None


def _named(batches: Iterable[Windows], group: Group, sheet: ContactSheet) -> Iterator[Named]:
    number = 0
    for batch in batches:
        for values in batch:
            sheet.add(group.name, values)
            yield Named(f"{group.name or 'sample'}-{number:05d}", values)
            number += 1


def _seed(seed: int, group: Group, number: int) -> int:
    """Of one sample."""
    state = np.random.SeedSequence((seed, group.label + 1, number)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def _check_kind(run: RunDirectory) -> None:
    """A codec alone generates nothing.

    Raises:
        RunError: says why, and how to get a generator.
    """
    if run.kind() is not CODEC:
        return
    spec, name = run.spec(), shlex.quote(str(run.path))
    if spec.codec.codebook_sizes:
        why = "tokens drawn at random are no signal"
    else:
        why = "its latents are far from N(0, 1), so that noise drawn from there decodes to noise"
    raise RunError(
        f"this is the run of a codec, which generates nothing by itself: {why}",
        where=str(run.path),
        how=f"train a generator: anycodec latents {name} DIR -o LATENTS, then anycodec train "
        "configs/gait-dit.yaml latents=LATENTS, and sample its run",
    )
