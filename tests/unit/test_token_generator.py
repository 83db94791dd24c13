"""The masked-token transformer against distributions that are known exactly."""

import math
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

from anycodec.config.generator import TokensSpec
from anycodec.errors import UserError
from anycodec.torch.generators import make_token_generator
from anycodec.torch.generators.tokens import cosine_mask
from anycodec.torch.samplers.unmask import unmask

SMALL = TokensSpec(width=32, depth=2, heads=2, dropout=0.0)


def network(grids=((8,),), codes=(4,), n_classes=2, spec=SMALL):
    torch.manual_seed(0)
    return make_token_generator(spec, grids, codes, n_classes)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sources(count, first=0):
    return [seeded(first + number) for number in range(count)]


# --- masks ---------------------------------------------------------------------------------------------


def test_masks_follow_the_cosine():
    mask = cosine_mask(torch.Size((20000, 50)), torch.device("cpu"), seeded())
    masked = mask.sum(1)
    assert masked.min() >= 1
    # E cos(pi r / 2) = 2 / pi, and half a position from rounding up
    assert masked.float().mean().item() == pytest.approx(50 * 2 / math.pi + 0.5, abs=0.3)
    assert mask.float().mean(0).std() < 0.01


# --- decoding ------------------------------------------------------------------------------------------

START = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
MOVES = torch.tensor([[0.1, 0.6, 0.3], [0.7, 0.2, 0.1], [0.2, 0.2, 0.6]], dtype=torch.float64)


def chain_logits(tokens):
    """log P(token at i | tokens that are not masked) of the Markov chain, by messages from both sides."""
    batch, length = tokens.shape
    seen = torch.ones(batch, length, 3, dtype=torch.float64)
    known = tokens < 3
    seen[known] = torch.nn.functional.one_hot(tokens[known], 3).double()
    left, right = [START.expand(batch, 3)], [torch.ones(batch, 3, dtype=torch.float64)]
    for i in range(length - 1):
        left.append((left[-1] * seen[:, i]) @ MOVES)
        right.append((right[-1] * seen[:, length - 1 - i]) @ MOVES.T)
    return (torch.stack(left, 1) * torch.stack(right[::-1], 1)).log()


def decode(predict, batch, length, *, codes, steps=20, noise=1e6, temperature=1.0):
    masked = torch.full((batch, length), codes)
    return unmask(predict, masked, sources(batch), steps=steps, temperature=temperature, noise=noise)


def test_one_token_at_a_time_in_random_order_draws_from_the_exact_distribution():
    batch, length = 3000, 5
    tokens = decode(chain_logits, batch, length, codes=3)
    marginal = START
    for i in range(length - 1):
        pairs = torch.zeros(3, 3, dtype=torch.float64)
        pairs.index_put_((tokens[:, i], tokens[:, i + 1]), torch.tensor(1 / batch).double(), accumulate=True)
        expected = marginal[:, None] * MOVES
        error = (expected * (1 - expected) / batch).sqrt()
        assert ((pairs - expected).abs() < 4.5 * error).all()
        marginal = marginal @ MOVES


def test_tokens_that_were_kept_stay_and_fewer_are_masked_each_step():
    shown = []

    def predict(tokens):
        shown.append(tokens)
        return torch.randn(*tokens.shape, 5, generator=seeded(len(shown)))

    shown.append(decode(predict, 3, 16, codes=5, steps=6, noise=1.0))
    assert len(shown) == 7
    for step, (before, after) in enumerate(pairwise(shown), 1):
        known = before < 5
        assert torch.equal(before[known], after[known])
        assert ((after == 5).sum(1) == int(16 * math.cos(math.pi / 2 * step / 6))).all()


def test_without_noise_the_most_confident_is_kept_first():
    logits = torch.tensor([[9.0, 0.0], [1.0, 0.0], [0.0, 30.0]])
    shown = []

    def predict(tokens):
        shown.append(tokens)
        return logits.expand(len(tokens), 3, 2)

    decode(predict, 20, 3, codes=2, steps=9, noise=0.0)
    assert (shown[1][:, 2] == 1).all()
    assert (shown[1][:, :2] == 2).all()
    assert (shown[2][:, 1] == 2).all()


def test_temperature_sharpens():
    logits = torch.log(torch.tensor([0.2, 0.8]))
    drawn = decode(lambda tokens: logits.expand(*tokens.shape, 2), 500, 20, codes=2, temperature=0.5)
    assert drawn.float().mean().item() == pytest.approx(0.64 / 0.68, abs=0.015)


def test_samples_are_the_same_in_other_batches():
    net = network().eval()
    labels = torch.tensor([0, 1, 2, 0, 1])
    (together,) = net.sample(labels, 4, 2.0, 1.0, sources(5))
    apart = [net.sample(labels[a:b], 4, 2.0, 1.0, sources(b - a, a))[0] for a, b in ((0, 3), (3, 5))]
    assert torch.equal(torch.cat(apart), together)
    assert not torch.equal(net.sample(labels, 4, 2.0, 1.0, sources(5, 9))[0], together)


# --- network -------------------------------------------------------------------------------------------


def test_an_untrained_network_without_weights_is_uniform():
    net = network(((4, 3), (2, 2)), (5, 5))
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    tokens = (torch.randint(5, (6, 4, 3)), torch.randint(5, (6, 2, 2)))
    terms = net.loss(tokens, torch.zeros(6, dtype=torch.long))
    assert terms["cross_entropy"].item() == pytest.approx(math.log(5))


def test_only_masked_positions_are_predicted():
    """The gradient of a uniform prediction's bias is 1/K less the share of a code among the masked."""
    net = network()
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    tokens = torch.randint(4, (16, 8), generator=seeded())
    net.loss((tokens,), torch.zeros(16, dtype=torch.long), seeded(3))["cross_entropy"].backward()
    random = seeded(3)
    torch.randint(1, (), generator=random)  # the level whose turn is first
    masked = tokens[cosine_mask(tokens.shape, tokens.device, random)]
    shares = torch.bincount(masked, minlength=4) / len(masked)
    torch.testing.assert_close(net.heads[0].bias.grad, 0.25 - shares)


def test_it_sees_what_is_not_masked_and_the_coarser_level_where_it_stands():
    net = network(((8,), (4,)), (4, 4)).eval()
    coarse, labels = torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    masked = torch.full((1, 8), 4)
    net.blocks = torch.nn.ModuleList()  # without attention, a position sees itself
    plain = net(masked, {1: coarse}, 0, labels)
    changed = net(masked, {1: torch.tensor([[0, 0, 1, 0]])}, 0, labels)
    assert ((plain != changed).any(2) == torch.tensor([0, 0, 0, 0, 1, 1, 0, 0]).bool()).all()


def test_guidance_one_is_no_guidance():
    net = network().eval()
    labels, none = torch.tensor([0, 1, 1]), torch.full((3,), 2)
    x = torch.full((3, 8), 4)
    c, u = (net.logits(net(x, {}, 0, which), 0) for which in (labels, none))
    torch.testing.assert_close(net._guided(x, {}, 0, labels, 1.0), c)
    torch.testing.assert_close(net._guided(x, {}, 0, labels, 3.0), 3 * c - 2 * u)
    torch.testing.assert_close(net._guided(x, {}, 0, none, 3.0), u)


def train(net, draw, steps=250, batch=64, lr=3e-3):
    optimizer = torch.optim.AdamW(net.parameters(), lr)
    random = seeded(5)
    for _ in range(steps):
        tokens, labels = draw(batch, random)
        hidden = torch.rand(batch, generator=random) < 0.1
        loss = net.loss(tokens, labels.masked_fill(hidden, net.n_classes), random)["cross_entropy"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def test_it_learns_a_pattern_a_class():
    """Code 4 and another one in turn: 0 or 1 in class 0, 2 or 3 in class 1."""

    def patterns(codes):
        return torch.stack((codes, torch.full_like(codes, 4)), 1).repeat(1, 3)

    def draw(batch, random):
        labels, late = torch.randint(2, (2, batch), generator=random)
        return (patterns(2 * labels + late),), labels

    net = train(network(((6,),), (5,)), draw, steps=150)
    labels = torch.tensor([0, 1]).repeat(100)
    (tokens,) = net.sample(labels, 8, 1.0, 1.0, sources(200))
    right = (tokens == patterns(tokens[:, 0])).all(1) & (tokens[:, 0] // 2 == labels)
    assert right.float().mean() > 0.95
    assert (tokens[:, 0] % 2).float().mean().item() == pytest.approx(0.5, abs=0.15)
    (unlabelled,) = net.sample(torch.full((100,), 2), 8, 1.0, 1.0, sources(100))
    assert unlabelled[:, 0].bincount(minlength=5)[:4].min() > 10


def test_it_learns_levels_coarse_to_fine():
    """The finer level, a picture of twice the size, repeats the coarser one and adds the class."""

    def draw(batch, random):
        labels = torch.randint(2, (batch,), generator=random)
        coarse = torch.randint(3, (batch, 2, 2), generator=random)
        fine = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2) + labels[:, None, None]
        return (fine, coarse), labels

    net = train(network(((4, 4), (2, 2)), (4, 3)), draw, steps=120)
    labels = torch.tensor([0, 1]).repeat(50)
    fine, coarse = net.sample(labels, 6, 1.0, 1.0, sources(100))
    expected = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2) + labels[:, None, None]
    assert (fine == expected).float().mean() > 0.95
    shares = torch.bincount(coarse.flatten(), minlength=3) / coarse.numel()
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), rtol=0, atol=0.12)


def test_what_does_not_fit():
    with pytest.raises(ValidationError, match="does not give 3 heads an even width"):
        TokensSpec(width=32, heads=3)
    with pytest.raises(UserError, match="multiple of 6"):
        network(((2, 2, 2),))
    with pytest.raises(UserError, match="at most 65536"):
        network(codes=(2**17,))
