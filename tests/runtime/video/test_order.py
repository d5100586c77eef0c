import pytest

from flowtrack.runtime.video.order import ArrivalOrder, Placed, TimestampOrder


def feed(order, stamps):
    for stamp in stamps:
        order.packet(stamp, stamp)


def test_reordered_packets_count_by_time():
    order = TimestampOrder()
    feed(order, [0, 30, 10, 20])
    assert [order.frame(t) for t in (0, 10, 20, 30)] == [
        Placed(0, 0, 0), Placed(1, 10, 0), Placed(2, 20, 0), Placed(3, 30, 0),
    ]  # fmt: skip
    assert not order.rest()


@pytest.mark.parametrize(
    ("out", "want", "rest"),
    [
        ([0, 10, 30], [(0, 0), (1, 0), (3, 1)], range(4, 4)),
        ([20, 30], [(2, 2), (3, 0)], range(4, 4)),
        ([0], [(0, 0)], range(1, 4)),
        ([], [], range(4)),
    ],
)
def test_missing_frames_shift_nothing(out, want, rest):
    order = TimestampOrder()
    feed(order, [0, 30, 10, 20])
    placed = [order.frame(t) for t in out]
    assert [(p.index, p.lost) for p in placed] == want
    assert order.rest() == rest


def test_damaged_frames_count_as_lost_with_the_next_whole_one():
    order = TimestampOrder(first=100)
    feed(order, [0, 10, 20, 30, 40])
    assert order.frame(0) == Placed(100, 0, 0)
    order.damaged(20)
    assert order.frame(30) == Placed(103, 30, 2)
    order.damaged(40)
    assert order.rest() == range(104, 105)


def test_fields_are_lost_only_after_a_complaint():
    order = TimestampOrder(one_to_one=False)
    feed(order, [0, 1, 10, 11, 20, 21])
    assert order.frame(0) == Placed(0, 0, 0)
    assert order.frame(10) == Placed(1, 10, 0)
    order.complaint()
    assert order.frame(20).lost == 1
    assert not order.rest()


def test_frames_without_stamps_take_those_of_the_packets():
    order = TimestampOrder()
    feed(order, [5, 6])
    assert order.frame(None) == Placed(0, 5, 0)


def test_arrival_order_counts_complaints():
    order = ArrivalOrder()
    feed(order, [0, 1, 2, 3])
    assert order.frame(7) == Placed(0, 0, 0)
    order.complaint()
    assert order.frame(9) == Placed(2, 2, 1)
    order.complaint()
    assert order.rest() == range(3, 4)
