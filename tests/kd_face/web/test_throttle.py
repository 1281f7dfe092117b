"""Throttle and slots: bursts, refill, bounded memory, bounded work."""

import threading

import pytest

from kd_face.web.answers import Refusal
from kd_face.web.throttle import Slots, Throttle


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_a_burst_then_an_even_refill():
    clock = Clock()
    throttle = Throttle(3, 30.0, clock=clock)
    assert [throttle.take("a") for _ in range(4)] == [0, 0, 0, pytest.approx(10.0)]
    assert throttle.take("a") == pytest.approx(10.0)  # a refused one does not count
    assert throttle.take("b") == 0
    clock.now += 10.0
    assert throttle.take("a") == 0 and throttle.take("a") == pytest.approx(10.0)
    clock.now += 1000.0
    assert [bool(throttle.take("a")) for _ in range(4)] == [False, False, False, True]


def test_the_wait_is_told():
    throttle = Throttle(1, 60.0, clock=Clock())
    throttle.require("a")
    with pytest.raises(Refusal) as refusal:
        throttle.require("a")
    assert refusal.value.status == 429 and refusal.value.headers["Retry-After"] == "60"
    throttle.forget("a")
    throttle.require("a")


def test_an_event_is_given_back():
    throttle = Throttle(2, 60.0, clock=Clock())
    throttle.give_back("a")  # never counted
    for _ in range(5):
        assert throttle.take("a") == 0
        throttle.give_back("a")
    assert [bool(throttle.take("a")) for _ in range(3)] == [False, False, True]


def test_its_memory_is_bounded_and_the_longest_unused_goes():
    throttle = Throttle(1, 60.0, keys=3, clock=Clock())
    for key in "abcd":
        throttle.take(key)
    assert len(throttle) == 3
    assert throttle.take("d") and not throttle.take("a")


def test_one_works_some_wait_and_more_are_refused():
    slots, go, working = Slots(1, 2), threading.Event(), []

    def work(is_patient=False):
        with slots.taken(is_patient):
            working.append(threading.get_ident())
            go.wait(10)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while slots.inside < 3:
        pass
    assert len(working) == 1
    with pytest.raises(Refusal, match="at most 3 requests") as refusal, slots.taken():
        raise AssertionError("was let in")
    assert refusal.value.status == 429 and "Retry-After" in refusal.value.headers
    threads.append(threading.Thread(target=work, args=[True]))  # may wait however many do
    threads[-1].start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert len(working) == 4 and slots.inside == 0
    with pytest.raises(KeyError), slots.taken():
        raise KeyError
    assert slots.inside == 0
