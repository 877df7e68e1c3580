"""The page of the commands is up to date and names every flag."""

import pathlib

import main
from hmsa_jax.commands import command_guide
from hmsa_jax.commands.command import Command, Flag

ROOT = pathlib.Path(__file__).parents[2]


def test_the_page_is_the_one_in_the_docs(capsys):
    main.main(["help", "--markdown"])
    assert capsys.readouterr().out == (ROOT / "docs/commands.md").read_text()


def test_every_command_and_flag_is_on_the_page():
    flags = (
        Flag("depth", "a | b", 3, int, "N"),
        Flag("source", "where from", needed=True),
        Flag("fast", "is quick", True, bool),
    )
    command = Command("does a thing", "python main.py thing", print, flags, reads_config=False)
    page = command_guide.page({"thing": command})
    assert "## thing\n\nDoes a thing.\n\n```bash\npython main.py thing\n```" in page
    assert "| `--depth=N` | `3` | a \\| b |" in page
    assert "| `--source=TEXT` | needed | where from |" in page
    assert "| `--nofast` |  | is quick |" in page
    assert page.endswith("It reads no experiment.")
