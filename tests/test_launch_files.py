"""The command lines of docs/hosts.md and of the files in docs/launchers can be typed."""

import pathlib
import re
import shlex

import pytest
import yaml

import main
from hmsa_jax.commands import command_line

ROOT = pathlib.Path(__file__).parents[1]
LAUNCHERS = ROOT / "docs/launchers"
COMMAND = re.compile(r"(?:main\.py|docs/launchers/slurm\.sh) (?=[a-z])(.*)")
END = re.compile(r"[`;>&)]")  # of a command within a line
GIVEN = "train --config=FILE --workdir=DIR"  # in the place of "$@"


def commands_in(text):
    """The arguments of each `main.py VERB ...`, with what a shell would put in left as it is."""
    text = text.replace("\\\n", " ").replace('"$@"', GIVEN)
    for line in COMMAND.findall(text):
        command = END.split(line)[0].strip()
        for quote in "'\"":  # of a shell within a shell
            if command.count(quote) % 2:
                command = command.removesuffix(quote)
        yield shlex.split(command)


def parsed(arguments):
    verb, *rest = arguments
    return command_line.parse(verb, main._load(verb), rest)


@pytest.mark.parametrize("name", ["hosts.md", "launchers/slurm.sh", "launchers/skypilot.yaml"])
def test_command_lines_can_be_typed(name):
    commands = list(commands_in((ROOT / "docs" / name).read_text()))
    assert len(commands) >= (6 if name == "hosts.md" else 1)
    for arguments in commands:
        options = parsed(arguments)
        assert "workdir" in options.typed


def test_what_skypilot_puts_in_names_the_processes():
    """HOST:PORT,COUNT,INDEX of its variables."""
    task = yaml.safe_load((LAUNCHERS / "skypilot.yaml").read_text())
    (arguments,) = commands_in(task["run"])
    where = parsed(arguments).distributed
    assert where == "$first:8476,$SKYPILOT_NUM_NODES,$SKYPILOT_NODE_RANK"
    (status,) = task["resources"]["job_recovery"]["recover_on_exit_codes"]
    assert parsed(arguments).stopped_status == status


def test_the_job_set():
    """Its command can be typed, all its machines meet, and it starts again after a signal alone."""
    manifest = yaml.safe_load((LAUNCHERS / "gke_jobset.yaml").read_text())
    (replicated,) = manifest["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    python, program, *arguments = container["command"]
    assert (python, program) == ("python", "main.py")
    options = parsed(arguments)
    assert (ROOT / options.config).exists()
    assert options.distributed is None

    topology = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
    rows, columns = map(int, topology.split("x"))
    chips = container["resources"]["limits"]["google.com/tpu"]
    assert rows * columns == chips * job["completions"] == chips * job["parallelism"]

    stopped, _ = job["podFailurePolicy"]["rules"]
    assert stopped["onExitCodes"]["values"] == [options.stopped_status]
    assert job["backoffLimit"] == 0
    first = (
        f"{manifest['metadata']['name']}-{replicated['name']}-0-0.{manifest['metadata']['name']}"
    )
    by_hand = f'--distributed="{first}:8476,{job["completions"]},$JOB_COMPLETION_INDEX"'
    assert by_hand in (LAUNCHERS / "gke_jobset.yaml").read_text()


def test_slurm_queues_again_what_a_signal_has_stopped():
    script = (LAUNCHERS / "slurm.sh").read_text()
    ((*_, status),) = commands_in(script.partition("\n\n")[2])
    assert status == "--stopped_status=75"
    assert 'if [ "$status" = 75 ]; then\n    scontrol requeue' in script
