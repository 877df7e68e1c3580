"""Shares of endless places: how many, where, and until when."""

import numpy as np
import pytest

from hmsa_jax.input.share import Share, check


def members(share, stop, start=0):
    return [place for place in range(start, stop) if place in share]


@pytest.mark.parametrize("share", [0, 0.0, 0.1, 0.3, 0.5, 0.75, 1 / 3, 1.0, 1])
def test_the_share_is_exact_at_every_place(share):
    places = Share(share)
    counts = np.cumsum([place in places for place in range(2000)])
    exact = np.arange(1, 2001) * share
    assert (counts <= exact + 1e-9).all()
    assert (counts > exact - 1 - 1e-9).all()
    assert [places.count(place) for place in range(1, 2001)] == counts.tolist()
    others = [places.count_others(place) for place in range(2000) if place not in places]
    assert others == list(range(2000 - counts[-1]))


def test_the_share_is_exact_after_any_number_of_places():
    places, late = Share(0.3), 10**17
    assert len(members(places, late + 10, start=late)) == 3
    assert places.count(late) == late // 10 * 3
    assert places.count_others(late) == late // 10 * 7


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_nothing_from_the_end_on(share):
    places = Share.until_epoch(share, epoch=3, length=7)
    assert members(places, 70) == members(Share(share), 21)
    others = [places.count_others(place) for place in range(21, 70)]
    assert others == list(range(21 - int(21 * share), 70 - int(21 * share)))


def test_epoch_zero_is_no_end_and_place_zero_is_one():
    assert Share.until_epoch(0.5, epoch=0, length=7) == Share(0.5)
    assert members(Share(1, until=0), 70) == []


def test_every_batch_has_its_share():
    assert [p % 4 for p in members(Share(0.25), 40)] == [3] * 10


@pytest.mark.parametrize("outer", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("end", [0, 1, 2, 25, 60, 61, 100])
def test_a_part_keeps_the_moment(outer, end):
    """A stream of the places in `outer`, and that of the others, know their ends by themselves."""
    outer = Share(outer, until=60)
    inside, outside = (Share(1, end).within(c) for c in (outer.count, outer.count_others))
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
