import json

import pytest

from hmsa_jax.runtime import work_record
from hmsa_jax.runtime.work_record import WorkRecord

SETTINGS = {"step": 3, "flip": True}


def record(directory, settings=SETTINGS, process_index=0):
    return WorkRecord(directory, "predict", "predicted", settings, process_index)


def test_lines_of_all_processes_are_read_again_but_for_one_cut_short(tmp_path):
    out = tmp_path / "out"
    for process in range(2):
        with record(out, process_index=process) as work:
            work.add({"id": f"a{process}"})
    with (out / "predicted-00000.jsonl").open("a") as file:
        file.write('{"id": "torn')
    with record(out) as work:
        assert work.lines(dict) == [{"id": "a0"}, {"id": "a1"}]
        work.add({"id": "b"})
        assert work.lines(dict) == [{"id": "a0"}, {"id": "b"}, {"id": "a1"}]
    assert json.loads((out / "predict.json").read_text()) == SETTINGS


@pytest.mark.parametrize("bad", ['{"id": "a0" "b"}', '["a0"]', "{}"])
def test_a_damaged_line_is_named(tmp_path, bad):
    def make(*, id):
        return id

    with record(tmp_path / "out") as work:
        work.add({"id": "a0"})
        path = tmp_path / "out" / "predicted-00001.jsonl"
        path.write_text(f'{{"id": "a1"}}\n{bad}\n')
        with pytest.raises(ValueError, match=r"predicted-00001\.jsonl is damaged in line 2 \("):
            work.lines(make)


def test_one_process_of_an_index_is_at_work(tmp_path):
    out, refused = tmp_path / "out", pytest.raises(ValueError, match="in use by another process")
    with record(out), record(out, process_index=1), refused, record(out):
        pass


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"step": 4, "flip": true}', "step: 4 there, 3 here$"),
        ('{"step": 3}', "flip: None there, True here$"),
        ("{", "predict.json is damaged"),
        ("[]", "predict.json holds no settings"),
    ],
)
def test_what_was_begun_in_another_way_is_refused(tmp_path, text, message):
    (tmp_path / "predict.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        record(tmp_path)
    assert (tmp_path / "predict.json").read_text() == text


def test_a_directory_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds other files; name a new directory"):
        record(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    work_record.check(tmp_path / "new", "predict", SETTINGS)
    record(tmp_path / "new")
    with pytest.raises(ValueError, match=r"undo:\n  a class$"):
        work_record.check(tmp_path / "new", "predict", SETTINGS, ["a class"])
