"""Working ahead changes neither order nor errors, and leaves no thread behind."""

import threading
import time

import pytest

from flowtrack.runtime.prefetch import Prefetch


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("depth", [1, 2, 10])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_order_and_values_stay(depth, count):
    with Prefetch(iter(range(count)), depth) as ahead:
        assert list(ahead) == list(range(count))


@pytest.mark.parametrize("value", [None, 0, StopIteration, ValueError("an item, not an error")])
def test_any_value_is_an_item(value):
    with Prefetch([value, value], 1) as ahead:
        assert list(ahead) == [value, value]


class TroubleError(Exception):
    pass


@pytest.mark.parametrize("at", [0, 1, 5])
def test_an_error_comes_after_the_items_before_it(at):
    def items():
        yield from range(at)
        raise TroubleError("no more")

    got = []
    with Prefetch(items(), 2) as ahead, pytest.raises(TroubleError, match="no more"):
        got.extend(ahead)
    assert got == list(range(at))


def test_no_more_than_depth_is_worked_ahead():
    made = []

    def items():
        for i in range(100):
            made.append(i)
            yield i

    with Prefetch(items(), 3) as ahead:
        deadline = time.monotonic() + 5
        while len(made) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.25)
        assert made == [0, 1, 2, 3]  # three wait in the queue, one in the worker's hand
        assert next(iter(ahead)) == 0


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_leaving_early_stops_the_worker(taken):
    made = []

    def endless():
        while True:
            made.append(None)
            yield len(made)

    with Prefetch(endless(), 2) as ahead:
        for item, _ in zip(ahead, range(taken), strict=False):
            assert item
    stopped = len(made)
    time.sleep(0.15)
    assert len(made) == stopped <= taken + 5


def test_leaving_by_an_error_of_the_consumer_stops_the_worker():
    def take():
        with Prefetch(iter(int, 1), 2) as ahead:
            assert next(iter(ahead)) == 0
            raise TroubleError

    with pytest.raises(TroubleError):
        take()


def test_work_is_done_in_another_thread():
    with Prefetch((threading.get_ident() for _ in range(3)), 1) as ahead:
        assert threading.get_ident() not in set(ahead)


@pytest.mark.parametrize("error", [None, ValueError])
def test_a_second_iteration_ends_too(error):
    def numbers():
        yield 1
        if error:
            raise error

    with Prefetch(numbers(), 1) as ahead:
        first = iter(ahead)
        assert next(first) == 1
        with pytest.raises(error or StopIteration):
            next(first)
        assert list(ahead) == []
