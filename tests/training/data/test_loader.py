"""Batches: an order that can be taken up anywhere, and threads that end."""

import threading
import time

import numpy as np
import pytest
import torch

from acusim.errors import ConfigError, PictureError
from training.data.loader import Order, batches


class Numbered:
    """Pictures whose pixels are their number."""

    size = 4

    def __init__(self, broken: int = -1, slow: float = 0.0):
        self.broken, self.slow, self.asked = broken, slow, 0

    def read(self, indices, out):
        time.sleep(self.slow)
        for row, index in zip(out, indices, strict=True):
            if index == self.broken:
                raise PictureError(f"picture {index} is broken")
            self.asked += 1
            row[:] = index


def indices_of(order: Order, count: int, epoch: int, start: int = 0) -> list[list[int]]:
    made = batches(Numbered(), np.arange(100, 100 + count), order, epoch, start_step=start)
    return [batch.index.tolist() for batch in made]


def alive() -> int:
    return sum(thread.name.startswith("batches") for thread in threading.enumerate())


def test_an_epoch_holds_each_picture_once_and_epochs_differ():
    order = Order(seed=1, batch_size=8)
    first, second = indices_of(order, 32, 0), indices_of(order, 32, 1)
    assert [len(batch) for batch in first] == [8, 8, 8, 8]
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == list(range(100, 132))
    assert first != second != indices_of(Order(seed=2, batch_size=8), 32, 1)


def test_what_does_not_fill_a_batch_is_omitted():
    batches = indices_of(Order(seed=1, batch_size=8), 30, 0)
    assert [len(batch) for batch in batches] == [8, 8, 8] and len(set(sum(batches, []))) == 24


def test_images_are_those_of_the_index():
    for batch in batches(Numbered(), np.arange(50), Order(0, 8), 3):
        assert batch.images.dtype == torch.uint8 and batch.images.shape == (8, 4, 4, 3)
        assert torch.equal(batch.images[:, 0, 0, 0].long(), batch.index)


def test_going_on_from_any_step_gives_what_is_left_and_reads_no_more():
    order = Order(seed=5, batch_size=4)
    whole = indices_of(order, 40, 2)
    for start in (0, 1, 7, 10):
        assert indices_of(order, 40, 2, start) == whole[start:]
    pictures = Numbered()
    steps = [batch.step for batch in batches(pictures, np.arange(40), order, 2, start_step=8)]
    assert steps == [8, 9] and pictures.asked == 8
    with pytest.raises(ConfigError, match=r"step 11 is not in 0\.\.10"):
        batches(Numbered(), np.arange(40), order, 2, start_step=11)


def test_processes_share_the_batch_of_one():
    alone = indices_of(Order(7, 12), 30, 4)
    ranks = [indices_of(Order(7, 12, rank=rank, world=3), 30, 4) for rank in range(3)]
    together = [sum((ranks[rank][step] for rank in range(3)), []) for step in range(2)]
    assert together == alone
    assert [[len(batch) for batch in rank] for rank in ranks] == [[4, 4]] * 3


@pytest.mark.parametrize("threads", [1, 4])
def test_the_number_of_threads_changes_nothing(threads):
    made = batches(Numbered(), np.arange(40), Order(3, 4), 0, threads=threads)
    assert [batch.index.tolist() for batch in made] == indices_of_zero_based()


def indices_of_zero_based() -> list[list[int]]:
    return [[i - 100 for i in batch] for batch in indices_of(Order(3, 4), 40, 0)]


@pytest.mark.parametrize("how", ["end", "break", "close", "error in the loop", "broken picture", "never begun"])
def test_threads_end_with_the_loop(how):
    broken = int(Order(0, 4).epoch(np.arange(40), 0)[17])
    pictures = Numbered(broken=broken if how == "broken picture" else -1, slow=0.01)
    made = batches(pictures, np.arange(40), Order(0, 4), 0, threads=3)
    if how == "end":
        assert len(list(made)) == 10
    elif how == "break":
        for _ in made:
            break
        del made
    elif how == "close":
        next(made)
        made.close()  # type: ignore[attr-defined]
    elif how == "error in the loop":
        with pytest.raises(ZeroDivisionError):
            for batch in made:
                _ = batch.step // 0
        del made
    elif how == "broken picture":
        seen: list[int] = []
        with pytest.raises(PictureError, match=f"{broken} is broken"):
            for batch in made:
                seen.append(batch.step)
        assert seen == [0, 1, 2, 3], "what comes before the broken one is not lost"
    assert alive() == 0 and pictures.asked <= 40


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"batch_size": 6, "world": 4}, "cannot be divided among 4 processes"),
        ({"batch_size": 0}, "cannot be divided"),
        ({"batch_size": 4, "rank": 2, "world": 2}, r"rank 2 is not in 0\.\.1"),
    ],
)
def test_wrong_orders_are_refused(wrong, text):
    with pytest.raises(ConfigError, match=text):
        Order(seed=0, **wrong)


def test_too_few_pictures_for_a_batch_are_refused():
    with pytest.raises(ConfigError, match="3 pictures do not fill a batch of 4"):
        batches(Numbered(), np.arange(3), Order(0, 4), 0)


def test_cached_pictures_arrive_in_batches(heads, read):
    data = read(heads())
    for batch in batches(data.cache, np.arange(8), Order(0, 4), 0):
        for image, index in zip(batch.images.numpy(), batch.index.tolist(), strict=True):
            assert (image == data.cache[index]).all()
