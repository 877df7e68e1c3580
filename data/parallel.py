"""Work on many files at once."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# Reading, and decoding in Pillow and OpenCV, let other threads run.
_THREADS = min(16, os.cpu_count() or 1)


def in_order(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yields `function(item)` of every item in order, working some items ahead in threads.

    Only a few results are held at a time, however many items there are.
    """
    ahead: collections.deque[concurrent.futures.Future[_Result]] = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(_THREADS, "hmsa-data")
    try:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > 2 * _THREADS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
