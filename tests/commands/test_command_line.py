"""What is typed, right or wrong, and the help."""

import subprocess
import sys
from pathlib import Path

import pytest

import main
from hmsa_jax.commands import command_line, execution
from hmsa_jax.experiment import run_directory

ROOT = Path(__file__).parents[2]


def parsed(verb, *arguments):
    command = main._load(verb)
    return command_line.parse(verb, command, list(arguments))


def test_flags_have_their_values_or_their_defaults():
    options = parsed("autolabel", "--workdir=a", "--images", "b c", "--out=d", "--noflip")
    assert (options.workdir, options.images, options.out, options.flip) == ("a", "b c", "d", False)
    assert (options.threshold, options.protocol, options.previews) == (0.9, None, False)
    assert set(options.typed) == {"workdir", "images", "out", "flip"}
    assert parsed("autolabel", "--workdir=a", "--images=b", "--out=d", "--flip=True").flip


def test_fields_have_values_of_their_type():
    options = parsed(
        "train",
        *("--workdir=a", "--config.data.batch_size=3", "--config.objective.scales=0.5,1,2"),
        *("--config.data.flip=False", "--config.data.dir=b=c", "--config.data.crop_size=(64, 96)"),
    )
    assert options.overrides == {
        "data.batch_size": 3,
        "objective.scales": (0.5, 1.0, 2.0),
        "data.flip": False,
        "data.dir": "b=c",
        "data.crop_size": (64, 96),
    }
    assert options.config is None


WRONG = {
    (): None,
    ("trian",): "'trian' is no verb; did you mean train?",
    ("xyz",): "'xyz' is no verb; name one of train, evaluate,",
    ("--workdir=a", "train"): "'--workdir=a' is no verb",
    ("train",): "train needs --workdir=DIR, directory of the run",
    ("train", "--workdir=a", "--wrokdir=b"): "train takes no --wrokdir; did you mean --workdir?",
    ("train", "--workdir"): "--workdir: expected one argument",
    ("train", "--work=a"): "train takes no --work",
    ("train", "--workdir=a", "runs"): "train takes no 'runs'; flags are written --NAME=VALUE",
    (
        "train",
        "--workdir=a",
        "--step=1.5",
    ): "--step: '1.5' is none; expected a number, best or latest",
    ("train", "--workdir=a", "--stopped_status=256"): "--stopped_status: '256' is no exit status",
    ("evaluate", "--workdir=a", "--out=b"): "evaluate takes no --out",
    ("train", "--workdir=w", "--images=d"): "train takes no --images",
    ("train", "--workdir=w", "--from=a.pth"): "train takes no --from",
    ("autolabel", "--workdir=w", "--images=d"): "autolabel needs --out=DIR",
    ("autolabel", "--workdir=w", "--out=o"): "autolabel needs --images=WHERE",
    ("autolabel", "--images=d", "--out=o"): "autolabel needs --workdir=DIR",
    ("convert", "--workdir=a"): "convert needs --from=FILE or --to=FILE",
    ("convert", "--workdir=a", "--from=b", "--to=c"): "convert needs --from=FILE or --to=FILE",
    ("convert", "--workdir=a", "--from=b", "--step=1"): "convert --from makes step 0",
    ("train", "--workdir=a", "--config.data.bathc_size=3"): "--config.data.bathc_size: no such",
    ("train", "--workdir=a", "--config.model=3"): "--config.model: no such field",
    ("train", "--workdir=a", "--config.steps"): "--config.steps has no value",
    ("train", "--workdir=a", "--config.steps=x"): "--config.steps is 'x'; expected a whole number",
    ("fields", "--config.steps=3"): "fields reads no config; leave --config.steps out",
    ("fields", "--markdown", "scale"): "fields prints a page of all with --markdown",
}


@pytest.mark.parametrize("typed", [typed for typed in WRONG if typed])
def test_what_is_wrongly_typed_is_told_in_two_lines(typed, capsys):
    with pytest.raises(SystemExit) as status:
        main.main(list(typed))
    assert status.value.code == 2
    told, hint = capsys.readouterr().err.splitlines()
    assert told.startswith(WRONG[typed])
    assert hint.startswith("`python main.py ")


@pytest.mark.parametrize("typed", [[], ["--help"], ["help"]])
def test_the_verbs_are_listed_with_a_line_each(typed, capsys):
    main.main(typed)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 for line in lines)
    for verb in main.COMMANDS:
        assert sum(line.startswith(f"  {verb} ") for line in lines) == 1


@pytest.mark.parametrize("verb", main.COMMANDS)
def test_help_shows_the_example_and_the_flags_of_the_verb_alone(verb, capsys):
    main.main([verb, "--help"])
    text = capsys.readouterr().out
    command = main._load(verb)
    assert command.example in text
    shown = {line.split()[0].partition("=")[0] for line in text.splitlines() if line[:4] == "  --"}
    named = {f"--{'no' if flag.default is True else ''}{flag.name}" for flag in command.flags}
    of_config = {"--config.GROUP.FIELD"} if command.reads_config else set()
    if command.reads_config and command.reads_file:
        of_config.add("--config")
    assert shown == named | of_config


@pytest.mark.parametrize("verb", main.COMMANDS)
def test_the_example_can_be_typed(verb):
    _, _, typed, *arguments = main._load(verb).example.split()
    assert typed == verb
    parsed(verb, *arguments)


def test_help_waits_for_no_import_of_jax():
    code = "import sys, main; main.main(['train', '--help']); main.main([])"
    code += "; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_a_run_brings_its_config(tmp_path):
    command = main._load("evaluate")
    typed = ["--workdir", str(tmp_path / "run"), "--config.steps=7"]
    options = command_line.parse("evaluate", command, typed)
    new = execution.read_config(command, options)
    assert (new.steps, new.model.trunk) == (7, "tiny")  # of the default experiment
    (tmp_path / "run").mkdir()
    run_directory._write(tmp_path / "run" / "config.json", {"steps": 9, "model.trunk": "w18"})
    options = command_line.parse("evaluate", command, typed[:2])
    assert execution.read_config(command, options).model.trunk == "w18"
    options = command_line.parse("evaluate", command, typed)
    with pytest.raises(ValueError, match="steps: 9 there, 7 here"):
        execution.read_config(command, options)


def test_a_flag_that_may_be_given_again_makes_a_list():
    options = parsed("report", "--workdir=a", "--workdir=b", "--out=p.html")
    assert options.workdir == ["a", "b"]
    assert parsed("report", "--workdir=a").workdir == ["a"]
