"""Shares of endless places: how many, where, and until when."""

import numpy as np
import pytest

from hmsa_jax.input.mixture import Mixture, check


def members(share, stop, start=0):
    return [place for place in range(start, stop) if place in share]


@pytest.mark.parametrize("share", [0, 0.0, 0.1, 0.3, 0.5, 0.75, 1 / 3, 1.0, 1])
def test_the_share_is_exact_at_every_place(share):
    places = Mixture(share)
    counts = np.cumsum([place in places for place in range(2000)])
    exact = np.arange(1, 2001) * share
    assert (counts <= exact + 1e-9).all()
    assert (counts > exact - 1 - 1e-9).all()
    assert [places.count(place) for place in range(1, 2001)] == counts.tolist()
    others = [places.count_others(place) for place in range(2000) if place not in places]
    assert others == list(range(2000 - counts[-1]))


def test_the_share_is_exact_after_any_number_of_places():
    places, late = Mixture(0.3), 10**17
    assert len(members(places, late + 10, start=late)) == 3
    assert places.count(late) == late // 10 * 3
    assert places.count_others(late) == late // 10 * 7


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_nothing_from_the_end_on(share):
    places = Mixture.until_epoch(share, epoch=3, length=7)
    assert members(places, 70) == members(Mixture(share), 21)
    others = [places.count_others(place) for place in range(21, 70)]
    assert others == list(range(21 - int(21 * share), 70 - int(21 * share)))


def test_epoch_zero_is_no_end_and_place_zero_is_one():
    assert Mixture.until_epoch(0.5, epoch=0, length=7) == Mixture(0.5)
    assert members(Mixture(1, until=0), 70) == []


def test_every_batch_has_its_share():
    assert [p % 4 for p in members(Mixture(0.25), 40)] == [3] * 10


@pytest.mark.parametrize("outer", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("end", [0, 1, 2, 25, 60, 61, 100])
def test_a_part_keeps_the_moment(outer, end):
    """A stream of the places in `outer`, and that of the others, know their ends by themselves."""
    outer = Mixture(outer, until=60)
    inside, outside = (Mixture(1, end).within(c) for c in (outer.count, outer.count_others))
    for place in range(120):
        part, count = (inside, outer.count) if place in outer else (outside, outer.count_others)
        assert (count(place) in part) == (place < end)


@pytest.mark.parametrize(
    ("share", "epoch", "field"),
    [(-0.1, 0, "share"), (1.1, 0, "share"), (float("nan"), 0, "share"), (0.5, -1, "until_epoch")],
)
def test_what_is_out_of_range_is_named(share, epoch, field):
    with pytest.raises(ValueError, match=rf"^data\.pool\.{field}: expected"):
        check("data.pool.", share, epoch)
