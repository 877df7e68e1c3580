"""The file that --config names, as a user may get it wrong."""

import re

import ml_collections
import pytest

from hmsa_jax.commands import config_file

FAULTS = {
    "def get_config(:\n": r"line 1 is no Python: invalid syntax",
    "x = 1\n": r"it defines no get_config\(\), which makes it; see configs/base\.py",
    "get_config = 3\n": r"it defines no get_config\(\)",
    "def get_config():\n    return {}['a']\n": r"line 2 \(return \{\}\['a'\]\): KeyError: 'a'",
    "x = 1 / 0\n": r"line 1 \(x = 1 / 0\): ZeroDivisionError: division by zero",
    "import nowhere.to_be_found\n": r"line 1 \(import nowhere\S*\): ModuleNotFoundError: No module",
    "raise SystemError('a\\nb')\n": r"line 1 .*SystemError: a",
    "raise SystemExit(3)\n": r"line 1 .*it ends the program \(status 3\); expected a config",
    "def get_config(a, b):\n    return a\n": r"TypeError: get_config\(\) missing 2 required",
    "def get_config():\n    return None\n": r"get_config returned an object of type NoneType;",
    "def get_config():\n    return {'steps': 1}\n": r"get_config returned an object of type dict;",
}


@pytest.mark.parametrize("text", FAULTS)
def test_an_error_names_the_file_and_the_line(tmp_path, text):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^--config={path}: {FAULTS[text]}"):
        config_file.load(str(path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.py", "no such file; expected one like configs/base.py"),
        (".", "no such file"),
        ("a.txt", "expected a file whose name ends with .py"),
    ],
)
def test_what_is_no_python_file_is_refused(tmp_path, name, message):
    (tmp_path / "a.txt").touch()
    path = str(tmp_path / name)
    with pytest.raises(
        (FileNotFoundError, ValueError), match=f"^--config={re.escape(path)}: {message}"
    ):
        config_file.load(path)


def test_remote_storage_is_refused_by_its_name():
    with pytest.raises(ValueError, match=r"^--config is gs://a/b\.py: only a path of this machine"):
        config_file.load("gs://a/b.py")


def test_a_config_is_what_the_file_makes(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from configs import base\n\n\ndef get_config():\n    return base.get_config()\n"
    )
    config = config_file.load(str(path))
    assert isinstance(config, ml_collections.ConfigDict)
    assert config.data.name == "street_scenes"
    assert config_file.load(config_file.DEFAULT).model.trunk == "tiny"
