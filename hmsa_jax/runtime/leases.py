"""Locks in a bucket: objects that a process writes again and again while it works.

A lock is a row of objects NAME.1, NAME.2 and so on, of which the highest counts. Each is made on
the condition that there is none of its name, so that of several processes one makes it; only that
process writes it again, every few seconds, and says in it when it leaves. One that finds the
highest unchanged for long takes the next number. Numbers only grow, and the highest is never
removed, so that a process that was late, or slept, sees a higher one than its own and knows.
"""

import contextlib
import json
import math
import os
import pathlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator

from hmsa_jax.runtime import storage
from hmsa_jax.runtime.console import stderr
from hmsa_jax.runtime.progress import tell

_SECONDS_BETWEEN_LINES = 60  # while another process is waited for; of the first one half
SECONDS_BETWEEN_WRITES = 10
SECONDS_UNTIL_STALE = 120  # in which a lock has to change, as others see it
SECONDS_TO_LIVE = 90  # without a write that arrived: this process ends before others take over


class InUseError(Exception):
    """Another process holds the lock.

    Attributes:
      holder: which, in words.
    """

    def __init__(self, holder: str):
        self.holder = holder


class Lease:
    """The lock of this process.

    Args:
      directory: in a bucket.
      name: of the lock.
    """

    def __init__(self, directory: pathlib.Path, name: str):
        self._directory, self._name = directory, name
        self._owner = f"process {os.getpid()} on {socket.gethostname()}"
        self._token = secrets.token_hex(8)
        self._number, self._written = 0, 0.0
        self._left = threading.Event()
        # A write may hang where nothing answers: another thread watches.
        self._threads = [
            threading.Thread(target=work, name="hmsa-lease", daemon=True)
            for work in (self._keep, self._watch)
        ]

    def try_to_take(self) -> bool:
        """Takes the lock if nobody holds it, or who did is gone; False if somebody does.

        Returns at once if the lock is free, within a few seconds if another process holds it, and
        within two minutes if one that is gone did.
        """
        highest = max(self._numbers(), default=0)
        if highest and not self._is_free(highest) and not self._is_stale(highest):
            highest = max(self._numbers(), default=0)
            if highest and not self._is_free(highest):
                return False
        self._number, self._written = highest + 1, time.monotonic()
        if not storage.put_new(self._path(self._number), self._content(held=True)):
            return False
        numbers = self._numbers()
        if max(numbers) > self._number:  # this process was late
            self._path(self._number).unlink(missing_ok=True)
            return False
        for number in numbers:
            if number < self._number:
                self._path(number).unlink(missing_ok=True)
        for thread in self._threads:
            thread.start()
        return True

    def leave(self) -> None:
        """Lets others take the lock."""
        self._left.set()
        for thread in self._threads:
            thread.join(SECONDS_BETWEEN_WRITES)
        with contextlib.suppress(Exception):  # others then find out by themselves
            storage.put(self._path(self._number), self._content(held=False))

    def holder(self) -> str:
        """Who holds the lock, in words."""
        numbers = self._numbers()
        return self._read(max(numbers)).get("owner", "another process") if numbers else "nobody"

    def _keep(self) -> None:
        while not self._left.wait(SECONDS_BETWEEN_WRITES):
            begin = time.monotonic()
            self._end_if_silent()
            try:
                storage.put(self._path(self._number), self._content(held=True))
                is_highest = max(self._numbers(), default=0) <= self._number
            except Exception:  # it may be reached again before others take over
                continue
            if not is_highest:
                self._end("another process has taken it over, since this one was not heard of")
            self._written = begin

    def _watch(self) -> None:
        while not self._left.wait(SECONDS_TO_LIVE / 60):
            self._end_if_silent()

    def _end_if_silent(self) -> None:
        if time.monotonic() - self._written > SECONDS_TO_LIVE:
            self._end(f"it was not written for {SECONDS_TO_LIVE:.0f} s")

    def _end(self, reason: str) -> None:
        """Ends the process before two write what one may write."""
        lock = self._path(self._number)
        stderr.print(f"OSError: {lock} kept others out, and {reason}; ended.", soft_wrap=True)
        os._exit(1)

    def _is_stale(self, number: int) -> bool:
        """Whether the lock of that number does not change for long; no clocks are compared."""
        first = self._versions()
        deadline = time.monotonic() + SECONDS_UNTIL_STALE
        told = time.monotonic() + 1.5 * SECONDS_BETWEEN_WRITES
        while time.monotonic() < deadline:
            time.sleep(min(1, SECONDS_BETWEEN_WRITES / 4))
            if self._versions() != first:
                return False
            if time.monotonic() > told:
                tell(
                    f"{self._directory} was left locked by {self._read(number).get('owner')}."
                    f" It is taken over if that stays silent for {SECONDS_UNTIL_STALE:.0f} s."
                )
                told = math.inf
        return True

    def _is_free(self, number: int) -> bool:
        return not self._read(number).get("held", True)

    def _read(self, number: int) -> dict:
        try:
            content = json.loads(self._path(number).read_bytes())
        except (FileNotFoundError, ValueError):  # gone, or of no version of ours
            return {}
        return content if isinstance(content, dict) else {}

    def _content(self, *, held: bool) -> bytes:
        content = {"owner": self._owner, "held": held, "token": self._token}
        return json.dumps(content | {"time": time.time()}).encode()

    def _versions(self) -> dict[str, str]:
        return storage.versions(self._directory, f"{self._name}.")

    def _numbers(self) -> list[int]:
        numbers = (name.removeprefix(f"{self._name}.") for name in self._versions())
        return [int(number) for number in numbers if number.isdecimal()]

    def _path(self, number: int) -> pathlib.Path:
        return self._directory / f"{self._name}.{number}"


@contextlib.contextmanager
def held(directory: pathlib.Path, name: str, *, wait: bool) -> Iterator[None]:
    """Holds a lock while the body runs.

    Args:
      directory: in a bucket.
      name: of the lock.
      wait: whether to wait while another process holds it.

    Raises:
      InUseError: another one does, and nobody waits.
    """
    lease = Lease(directory, name)
    due = time.monotonic() + _SECONDS_BETWEEN_LINES / 2
    while not lease.try_to_take():
        if not wait:
            raise InUseError(lease.holder())
        if time.monotonic() > due:
            stderr.print(f"Waiting for {lease.holder()}, which holds {directory / name}.")
            due = time.monotonic() + _SECONDS_BETWEEN_LINES
        time.sleep(1)
    try:
        yield
    finally:
        lease.leave()
