"""Trainings that end before their codes start."""

from __future__ import annotations

import pytest

from anycodec.config.codec import CodecSpec, SimVqganSpec, Vqvae2Spec
from anycodec.config.data import ImageSource, TableSource
from anycodec.config.quantizer import (
    EmaSpec,
    FsqSpec,
    GroupedSpec,
    OptVqSpec,
    ResidualSpec,
    SimVqSpec,
    VqSpec,
)
from anycodec.config.run import RunSpec
from anycodec.config.train import TrainSpec
from anycodec.config.waiting import never_started


def run_spec(codec: CodecSpec, steps: int) -> RunSpec:
    data = TableSource() if codec.axes == "T" else ImageSource()
    return RunSpec(data=data, codec=codec, train=TrainSpec(steps=steps))


@pytest.mark.parametrize(
    ("quantizer", "steps", "expected"),
    [
        (SimVqSpec(), 100, ["codec.quantizer.kmeans_after"]),
        (SimVqSpec(), 101, []),
        (SimVqSpec(kmeans_init=False), 5, []),
        (VqSpec(kmeans_after=7), 7, ["codec.quantizer.kmeans_after"]),
        (VqSpec(), 1, []),
        (FsqSpec(levels=(4, 4)), 1, []),
        (ResidualSpec(quantizer=SimVqSpec()), 9, ["codec.quantizer.quantizer.kmeans_after"]),
        (
            GroupedSpec(quantizer=ResidualSpec(quantizer=OptVqSpec())),
            100,
            ["codec.quantizer.quantizer.quantizer.kmeans_after"],
        ),
    ],
)
def test_the_last_step_must_come_after_the_start(quantizer, steps, expected):
    assert never_started(run_spec(SimVqganSpec(quantizer=quantizer), steps)) == expected


def test_levels_are_looked_at_one_by_one():
    levels = (EmaSpec(), EmaSpec(kmeans_after=3))
    codec = Vqvae2Spec(level_quantizers=levels)
    assert never_started(run_spec(codec, 3)) == ["codec.level_quantizers.kmeans_after"]
    assert never_started(run_spec(codec, 4)) == []
