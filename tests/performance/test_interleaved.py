"""The turns that programs take, by a clock of our own."""

from hmsa_jax.performance import interleaved


def test_the_first_round_does_not_count_and_a_slow_one_decides_nothing(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(interleaved.time, "perf_counter", lambda: now[0])

    def program(name, seconds):
        def run():
            order.append(name)
            now[0] += seconds[sum(other == name for other in order) - 1]

        return run

    programs = {"a": program("a", [100, 1, 2, 3]), "b": program("b", [50, 4, 90, 4])}
    assert interleaved.seconds_of(programs, rounds=3) == {"a": 2, "b": 4}
    assert order == ["a", "b"] * 4
