import json

from hmsa_jax.writers import MetricWriter


def steps(workdir):
    return [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").open()]


def test_resuming_drops_later_steps_and_a_torn_line(tmp_path):
    with MetricWriter(tmp_path, 0) as writer:
        for step in (1, 2, 3):
            writer.write(step, {"loss": 1.0 / step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    with MetricWriter(tmp_path, 2) as writer:
        assert steps(tmp_path) == [1, 2]
        writer.write(3, {"loss": 0.25})
    assert steps(tmp_path) == [1, 2, 3]
    assert list((tmp_path / "tensorboard").glob("events.*"))
