"""VQ-VAE-2 with any number of levels (Razavi et al. 2019, arXiv 1906.00446), after vvvm23/vqvae-2.

    x -> encoder 0 -> e0 -> encoder 1 -> e1 -> ...
    top down:  z_l = 1x1(cat(e_l, d_{l+1})),  q_l = quantised z_l,
               d_l = decoder_l(cat(q_l, q_top, ..., q_{l+1})),  the upper codes learned-upscaled to level l
    x^ = d_0

Level 0 is the finest. Decoding needs the codes, the upscalers and decoder 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from operator import mul

import torch
from torch import Tensor, nn

from anycodec.config.codecs.vqvae2 import Vqvae2Spec
from anycodec.errors import UserError
from anycodec.torch.codecs.base import Codec, CodecOutput
from anycodec.torch.layers.hierarchy2d import LevelDecoder, LevelEncoder, Upscaler
from anycodec.torch.quantizers import Quantized, Quantizer, TokenGrids, make_quantizer
from anycodec.torch.quantizers.usage import level_stats, split_levels

STARTING_VALUES = 2**24
"""Most values of the windows that the start of the codes looks at."""
STARTING_CONTRAST = 0.1
"""Deviation of the first reconstructions; with a gain of 1 they are noise that takes long to leave."""


class Vqvae2(Codec):
    """A hierarchy of encoders, quantizers and decoders; tokens and figures are the finest level's first."""

    def __init__(self, spec: Vqvae2Spec, in_channels: int) -> None:
        super().__init__()
        self.stride = spec.stride
        rates, hidden, dim = spec.rates, spec.hidden_channels, spec.latent_channels
        self.top = len(rates) - 1
        self.pixels = [factor**2 for factor in accumulate(rates, mul)]
        """Pixels a token of each level covers."""
        self.encoders = nn.ModuleList(
            LevelEncoder(spec, hidden if level else in_channels, rate) for level, rate in enumerate(rates)
        )
        self.quant_convs = nn.ModuleList(
            nn.Conv2d(hidden if level == self.top else hidden + dim, dim, 1) for level in range(len(rates))
        )
        self.quantizers = nn.ModuleList(make_quantizer(quantizer, dim) for quantizer in spec.quantizers)
        self.upscalers = nn.ModuleList(Upscaler(dim, rates[level:0:-1]) for level in range(len(rates)))
        self.decoders = nn.ModuleList(
            LevelDecoder(spec, len(rates) - level, dim if level else in_channels, rate)
            for level, rate in enumerate(rates)
        )
        nn.init.constant_(self._decoder(0).norm_out.weight, STARTING_CONTRAST)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return tuple(size for level in self._levels() for size in self._quantizer(level).codebook_sizes)

    def encode(self, x: Tensor) -> TokenGrids:
        return _tokens(self._quantize(x)[0])

    def decode(self, tokens: TokenGrids) -> Tensor:
        above = self._nothing_above()
        codes = tokens[0]
        left = tokens
        for level in reversed(self._levels()):
            quantizer = self._quantizer(level)
            count = len(quantizer.codebook_sizes)
            left, own = left[:-count], left[-count:]
            codes = self._codes(level, quantizer.lookup(own), above)
        x: Tensor = self._decoder(0)(codes)
        return x

    def forward(self, x: Tensor) -> CodecOutput:
        outs, codes = self._quantize(x)
        names = dict.fromkeys(name for out in outs for name in out.losses)
        losses = {
            name: torch.stack([o.losses[name] for o in outs if name in o.losses]).sum() for name in names
        }
        return CodecOutput(self._decoder(0)(codes), _tokens(outs), losses, _stats(outs))

    def latents(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The codes of all levels side by side, the upper ones upscaled: what decoder 0 sees [B LD *g]."""
        return self._quantize(x)[1]

    def decode_latents(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        windows: Tensor = self._decoder(0)(z)
        return windows

    def last_layer(self) -> Tensor:
        return self._decoder(0).conv_out.weight

    @torch.no_grad()
    def start(self, windows: Iterable[Tensor]) -> None:
        """Start the levels from the top down: the latents of a level depend on the codes above it."""
        wanted = {level: self._quantizer(level).latents_wanted for level in self._levels()}
        pool: list[Tensor] = []
        if any(wanted.values()):
            pool = self._starting_windows(windows, wanted)
        for level in reversed(self._levels()):
            if pool and wanted[level]:
                latents = self._latents_of(level, pool)
                self._quantizer(level).start(latents[torch.randperm(len(latents))[: wanted[level]]])

    def _starting_windows(self, windows: Iterable[Tensor], wanted: Mapping[int, int]) -> list[Tensor]:
        """Batches with as many latents as each level wants, or `STARTING_VALUES` values."""
        pool: list[Tensor] = []
        values = pixels = 0
        for x in windows:
            pool.append(x)
            values += x.numel()
            pixels += x[:, 0].numel()
            enough = all(pixels >= count * self.pixels[level] for level, count in wanted.items())
            if enough or values >= STARTING_VALUES:
                break
        return pool

    def _latents_of(self, level: int, pool: Iterable[Tensor]) -> Tensor:
        """What the quantizer of a level gets from windows, [N D], the ones above it having started."""
        found: list[Tensor] = []

        def quantize(at: int, z: Tensor) -> Tensor:
            if at == level:
                found.append(z.movedim(1, -1).flatten(0, -2).float())
            return self._settled(at, z) if at > level else z

        for x in pool:
            self._top_down(x, quantize)
        return torch.cat(found)

    def _settled(self, level: int, z: Tensor) -> Tensor:
        """Codes in place of latents; the quantizer stays as it is."""
        quantizer = self._quantizer(level)
        training = quantizer.training
        values: Tensor = quantizer.eval()(z).values
        quantizer.train(training)
        return values

    def _quantize(self, x: Tensor) -> tuple[list[Quantized], Tensor]:
        """Every level quantised, the finest first, and what decoder 0 gets."""
        self.check_size(x)
        outs: list[Quantized] = []

        def quantize(level: int, z: Tensor) -> Tensor:
            out: Quantized = self.quantizers[level](z)
            outs.insert(0, out)
            return out.values

        return outs, self._top_down(x, quantize)

    def _top_down(self, x: Tensor, quantize: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Windows to what decoder 0 gets; `quantize` turns the latents of a level into its codes.

        Raises:
            UserError: one token on top in a training batch, which BatchNorm can't take.
        """
        if self.training and x[:, 0].numel() == self.pixels[self.top]:
            raise UserError(
                "a training batch has one token on the coarsest level, which has no variance to normalize by",
                where="train.batch_size",
                how="use batches of two windows or more, a larger window, or fewer levels",
            )
        features = [x]
        for encoder in self.encoders:
            features.append(encoder(features[-1]))
        above = self._nothing_above()
        codes = x
        context: list[Tensor] = []
        for level in reversed(self._levels()):
            z = self.quant_convs[level](torch.cat([features[level + 1], *context], dim=1))
            codes = self._codes(level, quantize(level, z), above)
            context = [self._decoder(level)(codes)] if level else []
        return codes

    def _codes(self, level: int, values: Tensor, above: list[list[Tensor]]) -> Tensor:
        """Codes of a level and of those above it side by side; passes its own on to the levels below."""
        for below, upscaled in zip(reversed(range(level)), self.upscalers[level](values), strict=True):
            above[below].append(upscaled)
        return torch.cat([values, *above[level]], dim=1)

    def _nothing_above(self) -> list[list[Tensor]]:
        return [[] for _ in self._levels()]

    def _levels(self) -> range:
        return range(self.top + 1)

    def _decoder(self, level: int) -> LevelDecoder:
        decoder = self.decoders[level]
        assert isinstance(decoder, LevelDecoder)
        return decoder

    def _quantizer(self, level: int) -> Quantizer:
        quantizer = self.quantizers[level]
        assert isinstance(quantizer, Quantizer)
        return quantizer


def _tokens(outs: Iterable[Quantized]) -> TokenGrids:
    return tuple(grid for out in outs for grid in out.tokens)


def _stats(outs: Sequence[Quantized]) -> dict[str, Tensor]:
    """Figures of every grid of tokens; of kinds that differ, those that all have."""
    levels = [stats for out in outs for stats in split_levels(out.stats, len(out.tokens))]
    shared = [name for name in levels[0] if all(name in stats for stats in levels)]
    return level_stats([{name: stats[name] for name in shared} for stats in levels])
