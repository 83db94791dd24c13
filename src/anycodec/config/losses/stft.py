"""Settings of the term `stft`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from anycodec.config.losses.base import LossTerm, LossWindow, Misfit


class StftSpec(LossTerm):
    """Multi-resolution short-time Fourier loss of series (Yamamoto 2020)."""

    type: Literal["stft"] = "stft"
    n_fft: tuple[Annotated[int, Field(ge=4, le=2**16)], ...] = Field(
        (64, 128, 256),
        min_length=1,
        description="resolutions: samples a frame; frames advance by a quarter of it",
    )

    def misfit(self, window: LossWindow) -> Misfit | None:
        if window.axes != "T":
            return Misfit(
                "type",
                "stft is for series, these are pictures or video",
                "use spectral for pictures and video",
            )
        samples, longest = window.shape[0], max(self.n_fft)
        if longest > samples:
            return Misfit(
                "n_fft",
                f"a frame of {longest} samples is longer than the window of {samples}",
                f"use n_fft of at most {samples}, or a longer window",
            )
        return None
