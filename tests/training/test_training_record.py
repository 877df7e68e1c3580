"""What is on record of a training, and which checkpoint `--step` names by it."""

import dataclasses

import pytest

from hmsa_jax.training import training_record
from hmsa_jax.training.length import Length
from hmsa_jax.training.training_record import Best, Score, TrainingRecord, named_step

FACTS = {"split": "a/validation", "flip": False}
OTHER = FACTS | {"flip": True}


def a_record(*mean_ious, facts=FACTS):
    """Scores of steps 10, 20 and so on."""
    scores = [Score(10 * n, {"p": iou}, facts) for n, iou in enumerate(mean_ious, start=1)]
    return TrainingRecord(Length(100, 8, 2), tuple(scores))


def test_it_is_read_as_it_was_written(tmp_path):
    assert training_record.read(tmp_path) is None
    record = dataclasses.replace(a_record(1.5, None), best=Best(10, "p", 1.5), end="Done.")
    training_record.write(tmp_path, record)
    assert training_record.read(tmp_path) == record


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"length": {"steps": 1}, "scores": []}', "[" * 9999]
)
def test_a_damaged_record_is_named(text, tmp_path):
    (tmp_path / training_record.NAME).write_text(text)
    with pytest.raises(ValueError, match=rf"{training_record.NAME} is damaged \(.*or remove it"):
        training_record.read(tmp_path)


def test_the_best_is_the_first_of_the_highest_that_can_be_compared():
    record = a_record(1.0, 3.0, None, 3.0, 2.0)
    assert record.best_of("p", FACTS) == Best(20, "p", 3.0)
    assert record.best_of("p", FACTS, {30, 40, 50}) == Best(40, "p", 3.0)
    assert record.best_of("q", FACTS) is record.best_of("p", OTHER) is None
    assert record.without_progress("p", FACTS) == 3
    assert record.without_progress("p", OTHER) == 0
    higher = record.with_score(Score(60, {"p": 9.0}, OTHER))
    assert higher.best_of("p", FACTS) == Best(20, "p", 3.0)


def test_a_score_replaces_that_of_its_step_and_later_ones_go():
    record = a_record(1.0, 3.0, 2.0).with_score(Score(10, {"p": 4.0}, FACTS))
    assert [(s.step, s.mean_iou["p"]) for s in record.scores] == [(10, 4.0), (20, 3.0), (30, 2.0)]
    record = dataclasses.replace(record, best=Best(20, "p", 3.0), end="Done.")
    earlier = record.up_to(20)
    assert [s.step for s in earlier.scores] == [10, 20]
    assert (earlier.best, earlier.end) == (None, "")


def test_what_step_names(tmp_path):
    assert named_step(tmp_path, "--workdir", None) is named_step(tmp_path, "--workdir", "latest")
    assert named_step(tmp_path, "--workdir", "7") == named_step(tmp_path, "--workdir", 7) == 7
    with pytest.raises(ValueError, match="--step is 'newest'; expected a number, best or latest"):
        named_step(tmp_path, "--workdir", "newest")
    for record in (None, a_record(1.0)):
        if record:
            training_record.write(tmp_path, record)
        with pytest.raises(
            FileNotFoundError, match=r"has no best checkpoint on record .*keep_best"
        ):
            named_step(tmp_path, "--workdir", "best")
    training_record.write(tmp_path, dataclasses.replace(a_record(1.0), best=Best(10, "p", 1.0)))
    with pytest.raises(
        FileNotFoundError, match=r"best, which is step 10 .* is gone; there are: none"
    ):
        named_step(tmp_path, "--workdir", "best")
    (tmp_path / "checkpoints" / "10").mkdir(parents=True)
    (tmp_path / "checkpoints" / "20").mkdir()
    assert named_step(tmp_path, "--workdir", "best") == 10
