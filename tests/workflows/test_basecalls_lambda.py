"""The published basecaller on recorded reads of phage lambda, where its weights are on this machine."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from anycodec.cache import weights_path
from anycodec.engine import get_engine
from anycodec.io.pod5_adc import adc_reads
from anycodec.metrics.bases import Reference, call_identity, decode_ctc

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(
        not weights_path("bonito-r941").is_file(),
        reason="no weights: anycodec weights get bonito-r941",
    ),
]
for part in ("pod5", "fast_ctc_decode", "mappy", "edlib"):
    pytest.importorskip(part)


def test_identity_of_a_few_reads(real_data):
    """Over 34 lambda reads a side calculation had 95.1 % (median); a few of them scatter by a percent."""
    folder = real_data / "nanopore"
    reference = Reference(folder / "lambda_phage.fna")
    call = get_engine("torch").basecaller("bonito-r941", "cpu")
    reads = (read for read in adc_reads(folder / "r941_lambda.pod5") if 30_000 < len(read.adc) < 52_000)
    calls = [decode_ctc(call(read.picoamperes)) for read in islice(reads, 3)]
    found = [reference.align(bases) for bases in calls]
    assert np.median([alignment.identity for alignment in found]) == pytest.approx(0.955, abs=0.015)
    assert min(alignment.covered for alignment in found) > 0.97
    assert call_identity(calls[0], calls[0]) == 1
