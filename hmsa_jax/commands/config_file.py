"""Reading the file that `--config` names: Python that defines `get_config`."""

import importlib.util
import os
import pathlib
import traceback

from ml_collections import ConfigDict

from hmsa_jax.runtime.paths import local_path

_CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
DEFAULT = os.fspath(_CONFIGS / "street_scenes.py")
ABLATION = os.fspath(_CONFIGS / "ablation" / "street_scenes.py")
PUBLISHED = os.fspath(_CONFIGS / "published.py")  # for published weights


def load(text: str) -> ConfigDict:
    """Runs a file and returns what its `get_config()` does.

    Args:
      text: its path, as the user wrote it.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no Python, fails, or makes no config; the message names file and line.
    """
    path = local_path(text, "--config")
    if not path.is_file():
        raise FileNotFoundError(f"--config={text}: no such file; expected one like configs/base.py")
    try:
        spec = importlib.util.spec_from_file_location("config_of_experiment", path)
        if spec is None or spec.loader is None:
            raise ValueError("expected a file whose name ends with .py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if not callable(getattr(module, "get_config", None)):
            raise ValueError("it defines no get_config(), which makes it; see configs/base.py")
        config = module.get_config()
    except (Exception, SystemExit) as error:
        raise ValueError(f"--config={text}: {_describe(error, path)}") from error
    if not isinstance(config, ConfigDict):
        raise ValueError(
            f"--config={text}: get_config returned an object of type {type(config).__name__};"
            " expected a ml_collections.ConfigDict, as configs/base.py makes it"
        )
    return config


def _describe(error: BaseException, path: pathlib.Path) -> str:
    """What is wrong with the file, and in which line."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"line {error.lineno} is no Python: {error.msg}"
    lines = [
        (frame.lineno, frame.line)
        for frame in traceback.extract_tb(error.__traceback__)
        if pathlib.Path(frame.filename).resolve() == path.resolve()
    ]
    if isinstance(error, SystemExit):
        what = f"it ends the program (status {error.code}); expected a config"
    elif isinstance(error, ValueError) and not lines:
        what = str(error)
    else:
        what = f"{type(error).__name__}: {error}"
    return ("line {} ({:.80}): ".format(*lines[-1]) if lines else "") + what
