"""The file that --config names, as a user may get it wrong."""

import ml_collections
import pytest

from hmsa_jax.commands import config_file

FAULTS = {
    "def get_config(:\n": r"line 1 is no Python: invalid syntax",
    "x = 1\n": r"it defines no get_config\(\), which makes the config; see configs/base\.py",
    "def get_config():\n    return {}['a']\n": r"line 2 \(return \{\}\['a'\]\): KeyError: 'a'",
    "x = 1 / 0\n": r"line 1 \(x = 1 / 0\): ZeroDivisionError: division by zero",
    "import nowhere.to_be_found\n": r"line 1 \(import nowhere\S*\): ModuleNotFoundError: No module",
    "raise SystemError('a\\nb')\n": r"line 1 .*SystemError: a",
}


@pytest.mark.parametrize("text", FAULTS)
def test_an_error_names_the_file_and_the_line(tmp_path, monkeypatch, text):
    path = tmp_path / "mine.py"
    path.write_text(text)

    def parse(arguments):
        config = {}
        exec(compile(path.read_text(), str(path), "exec"), config)
        if "get_config" not in config:
            raise AttributeError("module has no attribute 'get_config'")
        config["get_config"]()

    monkeypatch.setattr(config_file.app, "parse_flags_with_usage", parse)
    with pytest.raises(SystemExit, match=rf"^--config={path}: {FAULTS[text]}"):
        config_file.parse_flags(["main.py", "train", f"--config={path}"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "--config.data.bathc_size=3",
            r"data\.bathc_size: no such field; did you mean data\.",
        ),
        ("--config.model=3", r"--config\.model: no such field"),
        ("--config.steps", r"--config\.steps has no value; write --config\.steps=VALUE"),
    ],
)
def test_an_override_that_is_none_is_told(override, message):
    with pytest.raises(SystemExit, match=message):
        config_file.refuse_unknown_fields(["main.py", "train", override])


def test_what_is_no_config_is_refused(tmp_path):
    path = tmp_path / "mine.py"
    with pytest.raises(FileNotFoundError, match=f"^--config={path}: no such file"):
        config_file.check_type(None, str(path))
    path.touch()
    for value, kind in ((3, "int"), (None, "NoneType")):
        with pytest.raises(ValueError, match=rf"^--config={path}: .* returned .* type {kind};"):
            config_file.check_type(value, str(path))
    config = ml_collections.ConfigDict()
    assert config_file.check_type(config, str(path)) is config
