"""Residual quantisation: stages that each quantise what the ones before left."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from anycodec.config.quantizer import ResidualSpec
from anycodec.torch.quantizers import make_quantizer
from anycodec.torch.quantizers.base import Quantized, Quantizer, TokenGrids
from anycodec.torch.quantizers.beam import beam_search
from anycodec.torch.quantizers.codebook import CodebookQuantizer
from anycodec.torch.quantizers.price import CodePrice
from anycodec.torch.quantizers.projection import projections
from anycodec.torch.quantizers.ranks import agree
from anycodec.torch.quantizers.usage import level_stats, split_levels


class Residual(Quantizer):
    """r_0 = z, q_i = Q_i(r_i), r_(i+1) = r_i - sg(q_i); value = sum q_i (Zeghidour et al. 2021,

    arXiv 2107.03312). Losses are sums over stages. The gradient of the value is the mean of the stages'
    gradients, straight-through where theirs is. Codes narrower than the latent are narrow in all stages
    alike: linear layers lead in before the first and out after the last. Quantizers with a fixed grid
    see r_i magnified by how much a stage shrinks it, and those with a range get z squashed into it.

    In training, a share `dropout` of the batches is restored from the first n stages, n uniform in
    1 .. stages: any number of levels can be decoded later. All stages give tokens and learn from every
    batch; a shared codebook of moving averages learns from one stage before the next uses it.

    In evaluation the codes of all stages can be chosen together (`beam`), and always by what they cost
    as well as by their distance (`rate_weight`).
    """

    scales: Tensor
    price: CodePrice | None

    def __init__(self, spec: ResidualSpec, dim: int) -> None:
        super().__init__()
        self.spec = spec
        width = spec.quantizer.code_dim or dim
        self.project_in: nn.Module = nn.Identity()
        self.project_out: nn.Module = nn.Identity()
        if width != dim:
            self.project_in, self.project_out = projections(dim, width)
        stage = spec.stage
        self.books = nn.ModuleList(
            make_quantizer(stage, width) for _ in range(1 if spec.shared else spec.stages)
        )
        powers = torch.arange(spec.stages)[:, None]
        shrinkage = self._stage(0).shrinkage.expand(width)
        self.register_buffer("scales", shrinkage**powers, persistent=False)
        self.price = CodePrice(spec.rate_weight, self.codebook_sizes) if spec.rate_weight else None

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return self._stage(0).codebook_sizes * self.spec.stages

    def forward(self, z: Tensor) -> Quantized:
        latents = self._stage(0).squash(_channels(self.project_in, z))
        kept = self._stages_kept()
        left = latents
        outs: list[Quantized] = []
        values: list[Tensor] = []
        chosen = self._chosen(latents)
        for i, stage, scale in self._stages(latents.dim()):
            out: Quantized = stage(left / scale, chosen[i]) if chosen else stage(left / scale)
            outs.append(out)
            values.append(out.values * scale)
            left = left - values[-1].detach()
        if self.price and self.training:
            self.price.learn(latents.detach(), [out.tokens[0] for out in outs])
        total = reduce(add, values[:kept])
        path = total / kept
        return Quantized(
            _channels(self.project_out, total.detach() + (path - path.detach())),
            tuple(grid for out in outs for grid in out.tokens),
            {name: torch.stack([out.losses[name] for out in outs]).sum() for name in outs[0].losses},
            level_stats([level for out in outs for level in split_levels(out.stats, len(out.tokens))]),
        )

    def _chosen(self, latents: Tensor) -> list[Tensor]:
        """Codes [N] of each stage by beam search; [] where each stage chooses for itself."""
        width = 1 if self.training else self.spec.beam
        if width == 1 and self.price is None:
            return []
        tables = [stage.codes() for _, stage, _ in self._stages(2) if isinstance(stage, CodebookQuantizer)]
        prices = self.price.of_codes().unbind() if self.price else None
        return beam_search(latents.movedim(1, -1).flatten(0, -2), tables, width, prices)

    def lookup(self, tokens: TokenGrids) -> Tensor:
        """Values of the tokens of all stages, or of the first few: coarser."""
        each = len(self._stage(0).codebook_sizes)
        values = [
            stage.lookup(tokens[i * each : (i + 1) * each]) * scale
            for i, stage, scale in self._stages(1 + tokens[0].dim())
            if i * each < len(tokens)
        ]
        return _channels(self.project_out, reduce(add, values))

    @property
    def latents_wanted(self) -> int:
        return max(stage.latents_wanted for _, stage, _ in self._stages(2))

    @torch.no_grad()
    def start(self, latents: Tensor) -> None:
        """Each stage starts on what the ones before leave; a shared codebook on what all stages get."""
        left = self._stage(0).squash(self.project_in(latents.float())).T[None]
        pool: list[Tensor] = []
        for i in range(self.spec.stages):
            if i > 0:
                left = self._left_by(i - 1, left)
            if self._stage(i).latents_wanted:
                self._stage(i).start(left[0].T)
            if self.spec.shared:
                pool.append(left)
        if pool:
            self._stage(0).start(torch.cat(pool, dim=2)[0].T)

    def _left_by(self, i: int, scaled: Tensor) -> Tensor:
        """What stage i leaves of its input [1 D N], as the next stage gets it; the state stays as it is."""
        stage = self._stage(i)
        training = stage.training
        stage.eval()
        left: Tensor = (scaled - stage(scaled).values) * (self.scales[i] / self.scales[i + 1])[:, None]
        stage.train(training)
        return left

    def _stage(self, i: int) -> Quantizer:
        book = self.books[0 if self.spec.shared else i]
        assert isinstance(book, Quantizer)
        return book

    def _stages(self, axes: int) -> Iterator[tuple[int, Quantizer, Tensor]]:
        """Number, quantizer and scale, to be multiplied with a tensor of `axes` axes, of each stage."""
        for i, scale in enumerate(self.scales):
            yield i, self._stage(i), scale.reshape(-1, *(1 for _ in range(axes - 2)))

    def _stages_kept(self) -> int:
        """How many stages this batch is restored from."""
        if not self.training or self.spec.dropout == 0:
            return self.spec.stages
        drawn = agree(torch.rand(2, device=self.scales.device))
        dropped = bool(drawn[0] < self.spec.dropout)
        return 1 + int(drawn[1] * self.spec.stages) if dropped else self.spec.stages


def _channels(layer: nn.Module, z: Tensor) -> Tensor:
    """A layer over the channels of [B D *g], in float32 whatever the autocast."""
    with torch.autocast(z.device.type, enabled=False):
        out: Tensor = layer(z.movedim(1, -1).float()).movedim(-1, 1)
        return out
