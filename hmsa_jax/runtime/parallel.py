"""Work on many files at once."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# Reading, and decoding in Pillow and OpenCV, let other threads run.
_THREADS = min(16, max(4, os.cpu_count() or 1))


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], ahead: int = 2 * _THREADS
) -> Generator[_Result, None, None]:
    """Yields `function(item)` of every item in order, working some items ahead in threads.

    Args:
      function: called in threads.
      items: read in the thread that iterates, `ahead` items before their results are asked for.
      ahead: how many results are held at most, however many items there are.
    """
    waiting: collections.deque[concurrent.futures.Future[_Result]] = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(_THREADS, "hmsa-ahead")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
