"""What a process says is in its file, also where it prints nothing."""

import re

from hmsa_jax.runtime import console, journal
from hmsa_jax.runtime.progress import Progress, tell


def test_a_quiet_process_writes_what_it_does_not_print(tmp_path, capsys):
    path = tmp_path / "logs" / "host-3.log"
    console.set_quiet(True)
    try:
        for _ in range(2):  # a second start goes on
            with journal.kept(path), Progress("train", 10) as progress:
                tell("Resuming [red]:\n  at once")
                progress.advance(5)
                progress.show("loss 1")
    finally:
        console.set_quiet(False)
    tell("no more")
    assert capsys.readouterr().out == "no more\n"
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00  "
    once = rf"{time}Resuming \[red\]:\n  at once\n{time}train 5/10  loss 1  left \S+\n"
    assert re.fullmatch(once * 2, path.read_text())
