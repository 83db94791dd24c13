import math

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from anycodec.metrics.codebook import CodebookUse, TokenCounts, entropy
from anycodec.metrics.rate import Rate, entropy_rate, nominal_rate
from anycodec.types import Tokens


def test_entropy_agrees_with_scipy():
    counts = np.random.default_rng(0).integers(0, 50, 100)
    assert entropy(counts) == pytest.approx(scipy_entropy(counts, base=2))


@pytest.mark.parametrize(
    ("counts", "used", "perplexity"),
    [([5, 5, 5, 5], 4, 4.0), ([7, 0, 0, 0], 1, 1.0), ([1, 1, 0, 0], 2, 2.0), ([0, 0], 0, 0.0)],
)
def test_codebook_use_of_known_histograms(counts, used, perplexity):
    use = CodebookUse.of(counts)
    assert (use.size, use.used, use.share) == (len(counts), used, used / len(counts))
    assert use.perplexity == pytest.approx(perplexity)


def test_token_counts_over_levels_and_batches():
    counts = TokenCounts([4, 8])
    for _ in range(2):
        counts.update(Tokens((np.array([[0, 3], [3, 3]]), np.array([[7], [1]])), (4, 8)))
    assert counts.counts[0].tolist() == [2, 0, 0, 6]
    assert counts.counts[1].tolist() == [0, 2, 0, 0, 0, 0, 0, 2]
    assert [use.used for use in counts.use()] == [2, 2]


def test_nominal_rate_of_the_nanopore_configuration():
    # 12 bits for 192 samples (facts: .0625 bits/sample); f8 pictures with 8192 codes: 13 bits for 64 pixels
    assert nominal_rate([4096], [192]) == 0.0625
    assert nominal_rate([8192], [64 * 3]) == pytest.approx(13 / 192)
    assert nominal_rate([16, 256], [4, 16]) == pytest.approx(1.5)


def test_entropy_rate_counts_every_level():
    assert entropy_rate([np.array([8, 8]), np.array([1, 1, 1, 1])], 64) == pytest.approx((16 + 8) / 64)


def test_rate_counts_all_side_information():
    rate = Rate(
        values=3000,
        pixels=1000,
        bytes={"tokens": 500, "statistics": 100, "header": 25},
        nominal=1.5,
        entropy=1.3,
        source_bytes=3000,
    )
    assert rate.bits_per_value == pytest.approx(625 * 8 / 3000)
    assert rate.bits_per_pixel == pytest.approx(5.0)
    assert sum(rate.split().values()) == pytest.approx(rate.bits_per_value)
    assert rate.side_bits_per_value == pytest.approx(125 * 8 / 3000)
    other = rate.with_tokens(entropy=2.0, nominal=2.5)
    assert other.bytes == {"tokens": 750, "statistics": 100, "header": 25}
    assert math.isclose(other.side_bits_per_value, rate.side_bits_per_value)
