"""Tokens in context: neighbours tell what comes next.

    P(k | h) = P(g(k) | h) P(k | g(k))

The context h is the group of the token before, or that of the coarser level's token at the same place.
Codes alike form a group, g(k); training counts how often each group occurs in each context. Both
factors adapt after each block, in integers as in `adaptation.py`. FORMAT.md says the same in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import constriction
import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.adaptation import INCREMENT, Symbols, blocks, bounded, categorical
from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.limits import MOST_GROUPS
from anycodec.bitstream.rangecoder import finish, from_bytes, to_bytes

SMOOTHING = 64
"""Each context starts with as many symbols spread as the groups are overall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenContext:
    """What training knows of the tokens of a level in context.

    Attributes:
        groups: [K] group of each code, 0..G-1; no group is empty.
        pairs: [H G] how often a token of group g occurred in context h.
        coarser: [K'] context of each code of the coarser level, 0..H-1, where its token at the same
            place is the context; None where the context is the group of the token before (H = G).
    """

    groups: NDArray[np.int64]
    pairs: NDArray[np.int64]
    coarser: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n_contexts, n_groups = self.pairs.shape
        if not (2 <= n_groups <= MOST_GROUPS and 1 <= n_contexts <= MOST_GROUPS):
            raise ValueError(
                f"{n_contexts} contexts x {n_groups} groups, 2 to {MOST_GROUPS} groups can be coded"
            )
        if not np.array_equal(np.unique(self.groups), np.arange(n_groups)):
            raise ValueError(f"the groups of codes are not 0..{n_groups - 1}")
        contexts = self.groups if self.coarser is None else self.coarser
        if contexts.min() < 0 or contexts.max() >= n_contexts or self.pairs.min() < 0:
            raise ValueError("contexts of codes, or counts, out of range")


class ContextCoder:
    """Codes the tokens of one level in context.

    Args:
        context: what training knows.
        prior: how often each code occurred in training, [K].
    """

    def __init__(self, context: TokenContext, prior: NDArray[np.int64]) -> None:
        if len(context.groups) != len(prior):
            raise ValueError(f"groups of {len(context.groups)} codes for a codebook of {len(prior)}")
        self._context, self._prior = context, prior

    @property
    def needs_coarser(self) -> bool:
        """Whether the coarser level's tokens are the context."""
        return self._context.coarser is not None

    def encode(self, symbols: Symbols, coarser: Symbols | None) -> bytes:
        """Code symbols [n], given the coarser level's [n] where they are the context."""
        model = _Model(self._context, self._prior)
        encoder = constriction.stream.queue.RangeEncoder()
        before = 0
        for start, stop in blocks(len(symbols), len(self._prior)):
            block = symbols[start:stop]
            groups = model.groups[block]
            contexts = self._contexts(groups, before, coarser, start)
            if self.needs_coarser:
                for context, places in _alike(contexts):
                    encoder.encode(groups[places].astype(np.int32), model.group(context))
            else:
                for context, group in zip(contexts.tolist(), groups.tolist(), strict=True):
                    encoder.encode(group, model.group(context))
            for group, places in _alike(groups):
                if model.sizes[group] > 1:
                    ranks = model.ranks[block[places]].astype(np.int32)
                    encoder.encode(ranks, model.member(group))
            model.update(contexts, groups, block)
            before = int(groups[-1])
        return to_bytes(encoder)

    def decode(self, body: bytes, n: int, coarser: Symbols | None) -> Symbols:
        """The `n` symbols of a stream.

        Raises:
            Damaged: not such a stream, or the coarser level's tokens are not at hand.
        """
        if self.needs_coarser and (coarser is None or len(coarser) != n):
            raise Damaged("a token stream that needs a coarser level of the same grid")
        decoder = from_bytes(body)
        symbols = np.empty(n, np.int64)
        try:
            self._decode(decoder, symbols, coarser)
        except (AssertionError, ValueError) as error:
            raise Damaged("a token stream that no encoder writes") from error
        finish(decoder)
        return symbols

    def _decode(
        self, decoder: constriction.stream.queue.RangeDecoder, symbols: Symbols, coarser: Symbols | None
    ) -> None:
        model = _Model(self._context, self._prior)
        before = 0
        for start, stop in blocks(len(symbols), len(self._prior)):
            block = symbols[start:stop]
            if self.needs_coarser:
                contexts = self._contexts(block, before, coarser, start)
                groups = np.empty(len(block), np.int64)
                for context, places in _alike(contexts):
                    groups[places] = decoder.decode(model.group(context), len(places))
            else:
                groups = _decode_chain(decoder, model, before, len(block))
                contexts = self._contexts(groups, before, coarser, start)
            for group, places in _alike(groups):
                codes = model.codes(group)
                ranks = decoder.decode(model.member(group), len(places)) if len(codes) > 1 else 0
                block[places] = codes[ranks]
            model.update(contexts, groups, block)
            before = int(groups[-1])

    def _contexts(self, groups: Symbols, before: int, coarser: Symbols | None, start: int) -> Symbols:
        """Contexts of a block that starts at `start`."""
        if self._context.coarser is None:
            return np.concatenate([[before], groups[:-1]])
        assert coarser is not None
        contexts: Symbols = self._context.coarser[coarser[start : start + len(groups)]]
        return contexts


def _decode_chain(
    decoder: constriction.stream.queue.RangeDecoder, model: _Model, before: int, n: int
) -> Symbols:
    """Groups of `n` tokens, each the context of the next."""
    groups = []
    for _ in range(n):
        before = decoder.decode(model.group(before))
        groups.append(before)
    return np.array(groups, np.int64)


class _Model:
    """Weights of groups in contexts and of codes in groups while a stream is coded."""

    def __init__(self, context: TokenContext, prior: NDArray[np.int64]) -> None:
        self.groups = context.groups
        self.sizes = np.bincount(context.groups)
        self._order = np.argsort(context.groups, kind="stable")
        self._starts = np.cumsum(self.sizes) - self.sizes
        self.ranks = np.empty_like(self._order)
        self.ranks[self._order] = np.arange(len(prior)) - np.repeat(self._starts, self.sizes)
        self._code_weights = INCREMENT * prior + 1
        overall = np.add.reduceat(prior[self._order], self._starts)
        spread = INCREMENT * SMOOTHING * overall // overall.sum() + 1
        self._pair_weights = INCREMENT * bounded(context.pairs) + spread
        self._built: dict[int, constriction.stream.model.Categorical] = {}

    def codes(self, group: int) -> Symbols:
        """Codes of a group, ascending."""
        start = self._starts[group]
        return self._order[start : start + self.sizes[group]]

    def group(self, context: int) -> constriction.stream.model.Categorical:
        """P(g | h)."""
        if context not in self._built:
            self._built[context] = categorical(self._pair_weights[context])
        return self._built[context]

    def member(self, group: int) -> constriction.stream.model.Categorical:
        """P(k | g), over `codes(g)`."""
        return categorical(self._code_weights[self.codes(group)])

    def update(self, contexts: Symbols, groups: Symbols, codes: Symbols) -> None:
        np.add.at(self._pair_weights, (contexts, groups), INCREMENT)
        self._code_weights += INCREMENT * np.bincount(codes, minlength=len(self._code_weights))
        self._built.clear()


def _alike(labels: Symbols) -> Iterator[tuple[int, Symbols]]:
    """Each label that occurs, ascending, and where."""
    order = np.argsort(labels, kind="stable")
    found, starts = np.unique(labels[order], return_index=True)
    yield from zip(found.tolist(), np.split(order, starts[1:]), strict=True)
