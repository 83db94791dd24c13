from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anycodec.data.sampler import BatchSampler, full_order, generator, subset_order


@dataclass
class Windows:
    length: int
    seed: int = 0

    def __len__(self):
        return self.length

    def epoch_order(self, epoch):
        return full_order(self.length, self.seed, epoch)


@given(length=st.integers(1, 40), size=st.integers(1, 17), steps=st.integers(1, 30))
def test_full_batches_that_see_every_item_once_an_epoch(length, size, steps):
    sampler = BatchSampler(Windows(length), size)
    batches = [sampler.batch(step) for step in range(steps)]
    assert all(len(batch) == size for batch in batches)
    seen = [key for batch in batches for key in batch]
    whole, rest = divmod(len(seen), length)
    for epoch in range(whole):
        assert sorted(seen[epoch * length : (epoch + 1) * length]) == [(epoch, i) for i in range(length)]
    assert len(set(seen[len(seen) - rest :])) == rest


@given(start=st.integers(0, 10**6))
def test_a_resumed_sampler_gives_the_same_batches(start):
    uninterrupted, resumed = BatchSampler(Windows(7), 5), BatchSampler(Windows(7), 5)
    for step in range(max(0, start - 9), start):
        uninterrupted.batch(step)
    expected = [uninterrupted.batch(step) for step in range(start, start + 5)]
    assert [resumed.batch(step) for step in range(start, start + 5)] == expected


def test_epochs_and_seeds_have_their_own_order():
    orders = {tuple(full_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_a_subset_holds_whole_files_and_changes_with_the_epoch():
    files = np.repeat(np.arange(10), 6)
    drawn = []
    for epoch in range(40):
        order = subset_order(files, 18, 3, seed=1, epoch=epoch)
        assert len(set(order.tolist())) == 18
        drawn.append(frozenset(files[order].tolist()))
    assert {len(files_) for files_ in drawn} == {3}
    assert frozenset.union(*drawn) == set(range(10))
    assert len(set(drawn)) > 20


def test_an_epoch_of_unequal_files_has_its_length():
    files = np.array([0] * 50 + [1] * 2)
    for epoch in range(10):
        assert len(subset_order(files, 26, 1, seed=0, epoch=epoch)) == 26


def test_a_position_decides_its_random_numbers():
    assert generator(1, 2, 3, 4).random() == generator(1, 2, 3, 4).random()
    assert (
        len({generator(*key).random() for key in [(1, 2, 3, 4), (1, 2, 4, 3), (2, 2, 3, 4), (1, 3, 3, 4)]})
        == 4
    )
