import threading

import pytest

from hmsa_jax.runtime import parallel


def test_results_come_in_order_and_a_few_ahead():
    begun = []
    ends = threading.Event()

    def square(number):
        if number == 0:
            ends.wait(5)  # the first ends last
        return number**2

    def numbers():
        for number in range(20):
            begun.append(number)
            if number == 3:
                ends.set()
            yield number

    results = parallel.in_order(square, numbers(), ahead=3)
    assert next(results) == 0
    assert begun == [0, 1, 2, 3]
    assert list(results) == [number**2 for number in range(1, 20)]


def test_an_error_comes_in_its_place():
    results = parallel.in_order(lambda number: 6 // number, [3, 0, 2])
    assert next(results) == 2
    with pytest.raises(ZeroDivisionError):
        next(results)
