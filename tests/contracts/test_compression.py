"""Any file of a format comes back from lossless compression: values, gaps, all that is passed through."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_files import MAKERS

from anycodec.io.formats import get_format, open_file
from anycodec.workflows import compress, decompress
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.within_bound import make_bound

GOLDEN = Path(__file__).parents[1] / "golden" / "acz_v1"
KINDS = ("image", "pod5", "table")
"""Arrays and video: tests/workflows/test_within_bound.py."""


@cache
def pipeline_of(kind: str) -> Pipeline:
    return Pipeline.open(GOLDEN / kind / "run", "cpu")


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=3, suppress_health_check=[HealthCheck.too_slow])
def test_without_loss_any_file_comes_back(kind: str, seed: int) -> None:
    with TemporaryDirectory() as folder:
        path, source = MAKERS[kind](Path(folder), np.random.default_rng(seed))
        pipeline = pipeline_of(kind)
        own = pipeline.spec.data
        kept = {"window": own.window, "normalizer": own.normalizer}
        kept |= {"channels": own.channels} if kind == "table" else {}
        pipeline.spec = pipeline.spec.model_copy(update={"data": source.model_copy(update=kept)})
        assert compress.run_with(pipeline, [path], Path(folder, "acz"), make_bound(None, lossless=True)) == 0
        packed = Path(folder, "acz", f"{path.name}.acz")
        assert decompress.run_with([packed], Path(folder, "out"), lambda _: pipeline) == 0
        (restored,) = Path(folder, "out").iterdir()
        form = get_format(kind)
        with open_file(path, source) as before, open_file(restored, source) as after:
            assert before.info.n_signals == after.info.n_signals
            for ours, theirs in zip(before.segments(2**20), after.segments(2**20), strict=True):
                np.testing.assert_array_equal(form.native(ours), form.native(theirs))
                assert dict(ours.attachments) == dict(theirs.attachments)
                assert (ours.info.id, ours.info.shape) == (theirs.info.id, theirs.info.shape)
