"""Throttle: how often something may happen, and how much may happen at once, in bounded memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kd_face.web.answers import Refusal

_AGAIN = 2  # seconds after which a slot may be free


class Throttle:
    """Rate limit of each key: a burst of ``most``, refilled evenly over ``seconds``.

    One number is held for each key (the generic cell rate algorithm); of more keys than ``keys``
    the one that was not used for the longest time is forgotten.

    Args:
        most: Events in a burst.
        seconds: In which a used-up burst is full again.
        keys: Most keys that are held.
        clock: Seconds.
    """

    def __init__(
        self,
        most: int,
        seconds: float,
        keys: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._step, self._burst = seconds / most, seconds
        self._keys, self._clock = keys, clock
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str) -> float:
        """Count an event; return 0, or the seconds to wait where it is one too many."""
        with self._lock:
            now = self._clock()
            full_at = max(now, self._full_at.get(key, now)) + self._step
            if (wait := full_at - now - self._burst) > 1e-9:
                return wait
            self._full_at[key] = full_at
            self._full_at.move_to_end(key)
            if len(self._full_at) > self._keys:
                self._full_at.popitem(last=False)
            return 0.0

    def require(self, key: str) -> None:
        """Count an event.

        Raises:
            Refusal: 429, where it is one too many.
        """
        if wait := self.take(key):
            raise Refusal(429, "too many requests. Wait.", retry_after=wait)

    def give_back(self, key: str) -> None:
        """Take back an event that was counted."""
        with self._lock:
            if key in self._full_at:
                self._full_at[key] -= self._step

    def forget(self, key: str) -> None:
        """Give a key its whole burst back."""
        with self._lock:
            self._full_at.pop(key, None)


class Slots:
    """Bound of work at the same time.

    Args:
        at_once: How many work.
        waiting: How many may wait; a further one is refused.
    """

    def __init__(self, at_once: int, waiting: int):
        self._most, self._inside = at_once + waiting, 0
        self._lock, self._free = threading.Lock(), threading.Semaphore(at_once)

    @contextmanager
    def taken(self, is_patient: bool = False) -> Iterator[None]:
        """Work in a slot, once one is free.

        Args:
            is_patient: Wait however many wait already.

        Raises:
            Refusal: 429, where too many wait already.
        """
        with self._lock:
            if self._inside >= self._most and not is_patient:
                message = (
                    f"at most {self._most} requests of this kind may work or wait, and as many do. "
                    f"Try again in {_AGAIN} seconds."
                )
                raise Refusal(429, message, retry_after=_AGAIN)
            self._inside += 1
        try:
            with self._free:
                yield
        finally:
            with self._lock:
                self._inside -= 1

    @property
    def inside(self) -> int:
        """Return how many work or wait."""
        return self._inside
