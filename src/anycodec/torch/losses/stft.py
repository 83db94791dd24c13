"""Multi-resolution STFT loss."""

from __future__ import annotations

import torch
from torch import Tensor

from anycodec.config.loss import StftSpec
from anycodec.torch.losses.base import Loss

FLOOR = 1e-7
"""Least power of a bin: keeps the logarithm, and the gradient of the root, finite."""


class Stft(Loss):
    """Mean over resolutions of spectral convergence and log-magnitude error (Yamamoto 2020).

    || |S(x)| - |S(x^)| ||_F / || |S(x)| ||_F  +  mean |log |S(x)| - log |S(x^)||

    S: short-time Fourier transform with a Hann window, frames a quarter apart; norms over the batch.
    """

    def __init__(self, spec: StftSpec) -> None:
        super().__init__()
        self.n_fft = spec.n_fft

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        return torch.stack([distance(reconstruction, target, n_fft) for n_fft in self.n_fft]).mean()


def distance(reconstruction: Tensor, target: Tensor, n_fft: int) -> Tensor:
    """Spectral convergence + log-magnitude error of [B C T] at one resolution."""
    found, wanted = magnitude(reconstruction, n_fft), magnitude(target, n_fft)
    convergence: Tensor = torch.linalg.vector_norm(wanted - found) / torch.linalg.vector_norm(wanted)
    return convergence + (wanted.log() - found.log()).abs().mean()


def magnitude(x: Tensor, n_fft: int) -> Tensor:
    """[B C T] -> [B*C n_fft/2+1 frames]."""
    window = torch.hann_window(n_fft, device=x.device)
    spectrum = torch.stft(x.flatten(0, 1), n_fft, n_fft // 4, window=window, return_complex=True)
    power: Tensor = spectrum.real.square() + spectrum.imag.square()
    return power.clamp_min(FLOOR).sqrt()
