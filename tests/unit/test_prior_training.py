"""Priors learn sources whose entropy is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from anycodec.bitstream.prior import Prior
from anycodec.bitstream.prior_network import quantised
from anycodec.checkpoint import RunDirectory
from anycodec.config.prior import PriorRunSpec, PriorSpec, PriorTrainSpec
from anycodec.config.train import CosineSchedule
from anycodec.engine import PriorJob, PriorLevel
from anycodec.torch.priors.training import PriorTraining, train_prior
from anycodec.workflows.prior_contexts import contexts_of
from anycodec.workflows.prior_data import Examples, Series

CODEC = "cd" * 32
STEPS = 250


def spec_of(steps: int = STEPS, **prior) -> PriorRunSpec:
    sizes = {"width": 32, "embedding": 8, "before": 4, "coarser": 1, **prior}
    return PriorRunSpec(
        codec=Path("codec"),
        prior=PriorSpec(**sizes),
        train=PriorTrainSpec(
            steps=steps, batch_size=512, val_every=steps, checkpoint_every=10, device="cpu", threads=1,
            schedule=CosineSchedule(warmup=10),
        ),
    )  # fmt: skip


def job_of(spec, series, sizes, folder, *, groups=None, in_time=False, resume=False):
    """A training on the first half of the series, judged by the second."""
    grids = [grid.shape[1:] for grid in series[0].grids]
    contexts = contexts_of(grids, spec.prior, in_time=in_time)
    middle = len(series) // 2
    train = Examples(series[:middle], contexts, sizes)
    levels = tuple(
        PriorLevel(
            sources=tuple(rows[:, 0].tolist()),
            sizes={source: sizes[source] for source in np.unique(rows[:, 0]).tolist()},
            places=grids[number],
            counts=train.codes(number),
            groups=None if groups is None else groups[number],
        )
        for number, rows in enumerate(contexts)
    )
    kept: list[Prior] = []

    def keep(arrays):
        networks = zip(arrays, contexts, levels, strict=True)
        whole = tuple(quantised(real, rows, level.groups) for real, rows, level in networks)
        kept.append(Prior(CODEC, tuple(sizes), tuple(grids), whole))

    folder.mkdir(exist_ok=True)
    job = PriorJob(
        spec=spec, levels=levels, train=train, val=Examples(series[middle:], contexts, sizes),
        run=RunDirectory(folder), keep=keep, resume=resume, quiet=True,
    )  # fmt: skip
    return job, kept


def bits(prior: Prior, series: list[Series], level: int, beside: int = 1) -> float:
    """Bits a token of streams."""
    tokens = sum(one.grids[level].size for one in series)
    return sum(8 * len(prior.encode(one.grids[: level + 1], beside)) for one in series) / tokens


def markov(rng, chain: np.ndarray, length: int) -> np.ndarray:
    """A sequence in which row i of `chain` gives what follows i."""
    uniform, ends = rng.random(length), np.cumsum(chain, axis=1)
    tokens = np.zeros(length, np.int64)
    for i in range(1, length):
        tokens[i] = min(int(np.searchsorted(ends[tokens[i - 1]], uniform[i])), len(chain) - 1)
    return tokens


def entropy_rate(chain: np.ndarray) -> float:
    values, vectors = np.linalg.eig(chain.T)
    stationary = np.real(vectors[:, np.argmax(values.real)])
    stationary /= stationary.sum()
    return float(-(stationary[:, None] * chain * np.log2(chain)).sum())


def test_a_markov_chain_costs_its_entropy_rate(tmp_path):
    """Windows go on where the last one ended: their first tokens cost no more than the others."""
    rng = np.random.default_rng(0)
    chain = rng.dirichlet(np.full(8, 0.3), 8) * 0.98 + 0.02 / 8
    series = [Series((markov(rng, chain, 4096).reshape(-1, 8),)) for _ in range(8)]
    job, kept = job_of(spec_of(), series, (8,), tmp_path / "run")
    result = train_prior(job)
    rate = entropy_rate(chain)
    assert rate < 2.2
    assert result.bests["val/bits"]["value"] == pytest.approx(rate, rel=0.03)
    assert bits(kept[-1], series[4:], 0) == pytest.approx(rate, rel=0.04)
    assert bits(kept[-1], series[4:], 0) == pytest.approx(result.bests["val/bits"]["value"], rel=0.01)


def test_a_stage_that_follows_from_the_coarser_one_costs_nothing(tmp_path):
    rng = np.random.default_rng(1)
    series = []
    for _ in range(8):
        coarse = rng.integers(0, 6, (40, 16))
        series.append(Series((coarse, (coarse * 5 + 2) % 6)))
    job, kept = job_of(spec_of(), series, (6, 6), tmp_path / "run")
    train_prior(job)
    assert bits(kept[-1], series[4:], 1) < 0.1


def test_finer_tokens_of_pictures_look_at_the_coarser_ones_below(tmp_path):
    rng = np.random.default_rng(2)
    series = []
    for _ in range(120):
        coarse = rng.integers(0, 4, (1, 3, 3))
        series.append(Series((coarse, coarse.repeat(2, axis=1).repeat(2, axis=2))))
    job, kept = job_of(spec_of(), series, (4, 4), tmp_path / "run")
    train_prior(job)
    together = Series(tuple(np.concatenate([one.grids[level] for one in series[60:]]) for level in (0, 1)))
    assert bits(kept[-1], [together], 1, beside=60) < 0.15


def test_frames_look_at_the_frame_before(tmp_path):
    rng = np.random.default_rng(3)
    stills = [np.repeat(rng.integers(0, 8, (1, 4, 4)), 16, axis=0) for _ in range(40)]
    series = [Series((still,)) for still in stills]
    job, kept = job_of(spec_of(), series, (8,), tmp_path / "run", in_time=True)
    train_prior(job)
    first, whole = (sum(kept[-1].bits([still[:n]], 1) for still in stills[20:]) for n in (1, 16))
    assert first > 2.5 * 16 * 20
    assert whole < 1.5 * first


def test_codes_in_groups_cost_what_each_by_itself_would(tmp_path):
    rng = np.random.default_rng(4)
    shares = rng.dirichlet(np.full(40, 0.5), 4) * 0.98 + 0.02 / 40
    parity = rng.integers(0, 4, 2**15)
    tokens = np.array([rng.choice(40, p=shares[kind]) for kind in parity])
    entropy = -(shares * np.log2(shares)).sum(axis=1).mean()
    series = [Series((kinds, codes)) for kinds, codes in zip(
        parity.reshape(8, -1, 16), tokens.reshape(8, -1, 16), strict=True)]  # fmt: skip
    groups = (None, np.arange(40) % 7)
    job, kept = job_of(spec_of(400), series, (4, 40), tmp_path / "run", groups=groups)
    train_prior(job)
    assert bits(kept[-1], series[4:], 1) == pytest.approx(entropy, rel=0.04)


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path):
    rng = np.random.default_rng(5)
    series = [Series((rng.integers(0, 8, (10, 8)), rng.integers(0, 80, (10, 8)))) for _ in range(4)]
    groups = (None, np.arange(80) % 9)
    spec = spec_of(30, dropout=0.2)
    job, whole = job_of(spec, series, (8, 80), tmp_path / "whole", groups=groups)
    train_prior(job)
    job, _ = job_of(spec, series, (8, 80), tmp_path / "parts", groups=groups)
    killed = PriorTraining(job)
    for _ in range(20):
        killed.train_step()
    killed.save()
    killed.train_step()  # lost
    torch.manual_seed(99)
    job, kept = job_of(spec, series, (8, 80), tmp_path / "parts", groups=groups, resume=True)
    assert train_prior(job).steps == 30
    assert kept[-1].fingerprint == whole[-1].fingerprint
