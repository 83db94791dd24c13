"""The classifier that judges samples: it learns, repeats itself for a seed, and augments as described."""

import numpy as np
import pytest
import torch

from anycodec.config.evaluation import ClassicalSpec, ClassifierSpec, StudySpec
from anycodec.engine import get_engine
from anycodec.errors import UserError
from anycodec.torch.classifier import augmented

SPEC = ClassifierSpec(steps=80, batch_size=16, channels=8, features=8)
RNG = np.random.default_rng(0)


def tones(n: int, length: int = 32, plane: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Waves of any phase in noise, slow (0) or fast (1): of one channel, or as rows of a picture."""
    labels = np.arange(n) % 2
    turns = np.where(labels, 8.0, 2.0)[:, None] * np.arange(length) / length + RNG.uniform(size=(n, 1))
    waves = np.sqrt(2) * np.sin(2 * np.pi * turns) + RNG.normal(0, 0.2, size=(n, length))
    x = np.repeat(waves[:, None, None], 8, axis=2) if plane else waves[:, None]
    return x.astype(np.float32), labels


@pytest.mark.parametrize("plane", [False, True])
def test_it_learns_and_says_so_in_probabilities(plane):
    classifier = get_engine("torch").classifier(SPEC, *tones(40, plane=plane), 2, device="cpu")
    x, labels = tones(100, plane=plane)
    found = classifier.probabilities(x)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found.argmax(axis=1) == labels).mean() > 0.95
    assert classifier.features(x).shape == (100, 8)


def test_the_same_seed_gives_the_same_classifier_and_leaves_the_random_state_alone():
    x, labels = tones(20)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    engine = get_engine("torch")

    def trained(seed: int) -> np.ndarray:
        return engine.classifier(
            SPEC, x, labels, 2, classical=ClassicalSpec(), seed=seed, device="cpu"
        ).probabilities(x)

    one, same, other = trained(1), trained(1), trained(2)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


def test_augmentation_shifts_time_alone():
    x = torch.arange(32.0).repeat(6, 1, 3, 1) + 100 * torch.arange(3.0)[:, None]
    spec = ClassicalSpec(share=1, shift=0.25, gain=0, noise=0)
    out = augmented(x, spec, torch.Generator().manual_seed(0))
    shifts = out[:, 0, 0, 0]
    for sample, first in zip(out, shifts, strict=True):
        expected = torch.roll(x[0], -int(first), dims=-1)
        assert torch.equal(sample, expected)
    assert len(shifts.unique()) > 1
    assert all(first <= 8 or first >= 24 for first in shifts)


def test_gain_is_a_sample_s_own_and_noise_a_value_s():
    ones = torch.ones(500, 1, 4)
    random = torch.Generator().manual_seed(0)
    louder = augmented(ones, ClassicalSpec(share=1, shift=0, gain=0.1, noise=0), random)
    assert torch.equal(louder, louder[..., :1].expand_as(louder))
    assert louder[:, 0, 0].log().std() == pytest.approx(0.1, rel=0.1)
    noisy = augmented(ones, ClassicalSpec(share=1, shift=0, gain=0, noise=0.3), random)
    assert (noisy - 1).std() == pytest.approx(0.3, rel=0.1)


def test_a_share_of_the_samples_is_augmented():
    x = torch.zeros(1000, 1, 4)
    out = augmented(x, ClassicalSpec(share=0.3, noise=1), torch.Generator().manual_seed(0))
    changed = (out != 0).flatten(1).all(dim=1)
    assert torch.equal(changed, (out != 0).flatten(1).any(dim=1))
    assert changed.float().mean() == pytest.approx(0.3, abs=0.05)


def test_nothing_to_do_leaves_a_batch_as_it_is():
    x = torch.randn(3, 2, 5)
    assert torch.equal(augmented(x, ClassicalSpec(shift=0, gain=0, noise=0), torch.Generator()), x)


def test_budgets_and_multiples_rise():
    with pytest.raises(ValueError, match="must rise"):
        StudySpec(budgets=(10, 5))


def test_jax_refuses():
    jax = pytest.importorskip("anycodec.jax.engine")
    with pytest.raises(UserError, match="can't train a classifier"):
        jax.create().classifier(SPEC, *tones(4), 2)
