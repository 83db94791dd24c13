"""A trained prior with its codec, ready to draw new signals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anycodec.checkpoint import RunDirectory
from anycodec.engine import Sampling, Windows
from anycodec.errors import RunError, UserError
from anycodec.types import Affine, Tokens
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.priors import open_prior, use_prior


class TrainedPrior:
    """A prior's run with its codec: draws windows as `anycodec.workflows.sample.TrainedGenerator` does.

    Args:
        run: the prior's run directory.
        codec: its codec's, where that has moved; None = where the run says.
        device: auto, cpu or cuda; the codec's.

    Raises:
        RunError: not a finished run of a prior, or a codec that is not its own.
    """

    classes: tuple[str, ...] = ()

    def __init__(self, run: Path, codec: Path | None = None, device: str = "auto") -> None:
        self.run = RunDirectory(run)
        self.prior = open_prior(run)
        manifest = self.run.read_manifest()
        try:
            self.native: dict[str, Any] = manifest["native"]
            folder = codec or Path(manifest["codec"]["path"])
        except (KeyError, TypeError) as error:
            raise RunError(f"the manifest of the prior lacks {error}", where=str(run)) from error
        if not RunDirectory(folder).config.is_file():
            raise RunError(
                "the codec of this prior is not there", where=str(folder), how="say where it is: --codec RUN"
            )
        self.codec = Pipeline(RunDirectory(folder), device)
        self.codec.require_own_channels()
        use_prior(self.codec, run)
        statistics = self.run.read_statistics()
        self._shift, self._scale = statistics["shift"], statistics["scale"]

    @property
    def source(self) -> dict[str, str]:
        """What samples say of where they come from."""
        return {"prior": self.prior.fingerprint}

    def draw(self, numbers: Sequence[int], seed: int, how: Sampling) -> Iterator[Windows]:
        """Batches of windows [k C *s] in the unit of the data; a sample depends on seed and number alone.

        Raises:
            UserError: settings that a prior does not have.
        """
        if how.sampler is not None or how.steps is not None or how.guidance != 1:
            raise UserError(
                "a prior draws its tokens one after the other: it has no sampler, steps or guidance",
                how="leave --sampler, --steps and --guidance out; --temperature is what it has",
            )
        for start in range(0, len(numbers), how.batch):
            part = numbers[start : start + how.batch]
            grids = self.prior.sample([(seed, number) for number in part], 1 / how.temperature)
            tokens = Tokens(grids, self.prior.codebook_sizes)
            windows = self.codec.codec.decode(tokens)
            rows = [
                int(np.random.default_rng((seed, 1, number)).integers(len(self._shift))) for number in part
            ]
            yield self.codec.normalizer.invert(windows, Affine(self._shift[rows], self._scale[rows]))
