"""What the documents name is there: files, fields and values."""

import pathlib
import re

import pytest

import main
from hmsa_jax.config import schema
from tests.test_rooms import ROOMS

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/*.md"))
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
OVERRIDE = re.compile(
    r"""--config\.([\w.]+)(?:=("[^"]*"|'[^']*'|[^\s`,;|)"']+(?:,[^\s`;|)"']+)*))?"""
)
COMMAND = re.compile(r"(?:main\.py|hmsa-jax) ([a-z][a-z-]*)((?:[^`\n\\]|\\\n)*)")
PLACEHOLDER = re.compile(r"\.\.\.|[A-Z_0-9/*$]+")


def text_of(document):
    """What stands in a document before the part that adds to the program."""
    return (ROOT / document).read_text().partition("\n## How to add\n")[0]


def headings(path):
    """The anchors of a document's headings, as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line).lower().replace(" ", "-") for line in lines}


def test_there_are_documents():
    assert pathlib.Path("README.md") in DOCUMENTS
    assert pathlib.Path("docs/index.md") in DOCUMENTS


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document):
    for link in LINK.findall((ROOT / document).read_text()):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / document).parent / file if file else ROOT / document
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_fields_and_their_values_are_possible(document):
    for name, value in OVERRIDE.findall(text_of(document)):
        name, value = name.rstrip("."), value.strip("\"'")
        if PLACEHOLDER.fullmatch(name.rpartition(".")[2]) or name == "X":
            continue
        assert name in schema.FIELDS, name
        if value and not PLACEHOLDER.fullmatch(value) and not schema.FIELDS[name].is_path:
            assert schema.FIELDS[name].allows(schema.parse(name, value)), f"{name}={value}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_commands_and_their_flags_are_there(document):
    for verb, rest in COMMAND.findall(text_of(document)):
        if verb == "help":
            continue
        assert verb in main.COMMANDS, verb
        known = {flag.name for flag in main._load(verb).flags} | {"config", "help"}
        for name in re.findall(r"--(\w+)", rest):
            assert {name, name.removeprefix("no")} & known, f"{verb} --{name}"


def test_the_index_names_every_document():
    text = (ROOT / "docs/index.md").read_text()
    named = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in LINK.findall(text)}
    documents = {path.resolve() for path in (ROOT / "docs").glob("**/*.md")} - {
        (ROOT / "docs/index.md").resolve()
    }
    assert not documents - named


def test_contributing_lists_the_rooms_in_their_order():
    listed = re.findall(r"^\| \[([\w/]+)(?:\.py)?\]", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    assert tuple(room.strip("/").replace("/", ".") for room in listed) == ROOMS


@pytest.mark.parametrize(
    ("document", "sentence", "flag"),
    [
        ("hosts.md", r"\n\n([^.:]*) take it\. Every process", "distributed"),
        ("hosts.md", r"With\n`--stopped_status=75` (.*?) end with", "stopped_status"),
        ("runs.md", r"\| `--step=N` of (.*?) \|", "step"),
    ],
)
def test_all_commands_that_take_a_flag_are_listed(document, sentence, flag):
    (listed,) = re.findall(sentence, (ROOT / "docs" / document).read_text(), re.DOTALL)
    takes_it = [
        verb for verb in main.COMMANDS if any(each.name == flag for each in main._load(verb).flags)
    ]
    assert sorted(re.findall(r"`([a-z-]+)[^`]*`", listed)) == sorted(takes_it)
