"""The command on files of counts, as a user types it."""

import os
import re

import numpy as np
import pytest

import main
from hmsa_jax.metrics import bootstrap
from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.report import comparison, count_file

IMAGES, CLASSES = tuple(f"image{i}" for i in range(30)), ("road", "sky", "fence")
SINGLE, AVERAGE, MAX = "single (1)", "average (0.5, 1)", "max (1, 2)"


def some_counts(right, seed=0):
    """Labels that do not depend on how many of the pixels are predicted right."""
    labelled = np.random.default_rng(0).integers(50, 400, (30, 1, 3, 1))
    wrong = np.random.default_rng(seed).binomial(labelled, 1 - np.reshape(right, (-1, 1, 1)))
    counts = np.eye(3, dtype=int) * (labelled - wrong)
    return (counts + np.roll(np.eye(3, dtype=int), 1, 1) * wrong).astype(np.int32)


def write(
    run, counts, protocols, *, images=IMAGES, classes=CLASSES, split="a/val", step=10, kind=()
):
    (run / "evaluation").mkdir(parents=True, exist_ok=True)
    (run / "config.json").write_text("{}")
    name = f"{split.partition('/')[2]}-{step}.npz"
    confusions = ImageConfusions(images, protocols, classes, counts)
    count_file.write(
        run / "evaluation" / name, count_file.Origin(split, step), confusions, dict(kind)
    )
    return confusions


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "run", tmp_path / "other"


def rows(text):
    """The cells of each row of a table, by the cells that are no figures."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    return {tuple(row[:-4]): row[-4:] for row in cells if row}


def error_of(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        main.main(["compare", *arguments])
    assert exit_.value.code == 1
    return " ".join(capsys.readouterr().out.split())


def test_a_directory_that_is_no_run_is_named(capsys):
    assert "--workdir is /nowhere, which holds no config.json; name the directory of a run" in (
        error_of(capsys, "--workdir=/nowhere")
    )


def test_two_runs_are_compared_protocol_by_protocol(runs, capsys):
    first = write(runs[0], some_counts((0.7, 0.8, 0.75)), (SINGLE, AVERAGE, MAX))
    counts = some_counts((0.9, 0.7), seed=1)
    second = write(runs[1], counts, (MAX, SINGLE))
    main.main(["compare", f"--workdir={runs[0]}", f"--other={runs[1]}"])
    out = capsys.readouterr().out
    table = rows(out)
    assert [*table] == [(SINGLE,), (MAX,)]  # those of both, as the first has them
    for name in (SINGLE, MAX):
        score, other, difference, interval = table[(name,)]
        means = []
        for confusions in (first, second):
            total = confusions.totals[name].astype(float)
            hit = np.diag(total)
            means.append(100 * np.mean(hit / (total.sum(0) + total.sum(1) - hit)))
        assert (score, other) == tuple(f"{mean:.1f}" for mean in means)
        assert difference == f"{means[1] - means[0]:+z.1f}"
        ends = bootstrap.interval(second.resampled[name] - first.resampled[name])
        assert interval == "{:+.1f} to {:+.1f}".format(*(100 * end for end in ends))
    assert "a/val, 30 images" in out
    # The order of the images says nothing.
    write(runs[1], counts[::-1], (MAX, SINGLE), images=IMAGES[::-1])
    main.main(["compare", f"--workdir={runs[0]}", f"--other={runs[1]}"])
    assert rows(capsys.readouterr().out) == table


def test_the_protocols_of_one_run_are_compared(runs, capsys):
    confusions = write(runs[0], some_counts((0.7, 0.8, 0.75)), (SINGLE, AVERAGE, MAX))
    main.main(["compare", f"--workdir={runs[0]}"])
    table = rows(capsys.readouterr().out)
    assert [*table] == [(SINGLE, AVERAGE), (SINGLE, MAX), (AVERAGE, MAX)]
    resampled = confusions.resampled
    for (first, second), row in table.items():
        ends = bootstrap.interval(resampled[second] - resampled[first])
        assert row[-1] == "{:+.1f} to {:+.1f}".format(*(100 * end for end in ends))
    write(runs[1], some_counts((0.7,)), (SINGLE,))
    message = error_of(capsys, f"--workdir={runs[1]}")
    assert "val-10.npz has one protocol; name another run with --other" in message


def test_the_evaluation_is_chosen_by_split_and_step(runs, capsys):
    for step, right in ((9, 0.5), (10, 0.6), (100, 0.7)):
        write(runs[0], some_counts((right, 0.8)), (SINGLE, MAX), step=step)
    write(runs[0], some_counts((0.9, 0.8)), (SINGLE, MAX), split="a/test", step=10)
    write(runs[1], some_counts((0.5, 0.8)), (SINGLE, MAX), split="a/test", step=20)
    write(runs[1], some_counts((0.5, 0.8)), (SINGLE, MAX), step=9)
    # Scores of another kind, of the same step, that were written before.
    later = runs[0] / "evaluation" / "val-100-2.npz"
    later.write_bytes((runs[0] / "evaluation" / "val-9.npz").read_bytes())
    os.utime(later, (1, 1))

    def chosen(*flags):
        main.main(["compare", f"--workdir={runs[0]}", *flags])
        lines = capsys.readouterr().out.splitlines()
        return [line.rpartition("/")[2] for line in lines if line.startswith(("run:", "other:"))]

    assert chosen() == ["val-100.npz"]
    other = f"--other={runs[1]}"
    assert chosen(other) == ["val-100.npz", "val-9.npz"]
    assert chosen(other, "--split=test") == ["test-10.npz", "test-20.npz"]
    assert chosen(other, "--split=a/test") == ["test-10.npz", "test-20.npz"]
    assert chosen(other, "--step=9") == ["val-9.npz", "val-9.npz"]
    assert chosen(f"--other={runs[0]}", "--other_step=9") == ["val-100.npz", "val-9.npz"]
    message = error_of(capsys, f"--workdir={runs[0]}", other, "--other_step=7")
    assert f"--other is {runs[1]}, whose evaluation/ has no counts of a/val at step 7" in message
    assert "but of a/test at step 20, a/val at step 9; run `evaluate`" in message
    (runs[0].parent / "config.json").write_text("{}")
    assert "has no counts (.npz); run" in error_of(capsys, f"--workdir={runs[0].parent}")
    with pytest.raises(SystemExit) as exit_:
        main.main(["compare", f"--workdir={runs[0]}", "--other_step=7"])
    assert exit_.value.code == 2


def test_other_ways_to_score_are_told(runs, capsys):
    """A file of an earlier version has not all facts on record."""
    kinds = {"flip": True, "fusion_resolution": "image"}, {"flip": False, "average_of_steps": True}
    for run, kind in zip(runs, kinds, strict=True):
        write(run, some_counts((0.7,)), (SINGLE,), kind=kind)
    main.main(["compare", f"--workdir={runs[0]}", f"--other={runs[1]}"])
    out = " ".join(capsys.readouterr().out.split())
    assert "in different ways: flip is True of the run and False of the other." in out
    main.main(["compare", f"--workdir={runs[0]}", f"--other={runs[0]}"])
    assert "different ways" not in capsys.readouterr().out


def relabelled():
    counts = some_counts((0.9,))
    counts[4, 0, 0, 0] += 1
    return counts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("road", "sky", "post")}, r"different classes \(fence, post\)"),
        ({"classes": ("sky", "road", "fence")}, r"different classes \(their order\)"),
        ({"images": ("x", *IMAGES[1:])}, r"different images \(image0, x\); run `evaluate`"),
        ({"images": IMAGES[1:], "counts": some_counts((0.9,))[1:]}, r"images \(image0\)"),
        ({"counts": relabelled()}, "different labels for image4; run `evaluate`"),
        ({"protocols": (MAX,)}, "no protocol in common"),
    ],
)
def test_what_differs_is_named(runs, capsys, changes, message):
    write(runs[0], some_counts((0.7,)), (SINGLE,))
    write(runs[1], **{"counts": some_counts((0.9,)), "protocols": (SINGLE,), **changes})
    text = error_of(capsys, f"--workdir={runs[0]}", f"--other={runs[1]}")
    assert "evaluation/val-10.npz" in text
    assert re.search(message, text), text


def test_a_difference_is_clear_on_either_side():
    for ends, is_clear in (((0.1, 0.2), True), ((-0.2, -0.1), True), ((-0.1, 0.1), False)):
        assert comparison.Difference(("p",), 0.5, 0.5, ends).is_clear == is_clear
