"""Several processes that run one command together: waiting for each other, telling each other."""

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax

from hmsa_jax.distributed import coordination
from hmsa_jax.runtime.console import set_quiet

MINUTES = 5.0
"""The longest wait for what takes all processes equally long."""

UNEQUAL_MINUTES = 7 * 24 * 60.0
"""The longest wait for what one may have much more of to do than another."""

_HOST = "host"
_SILENT = 30  # seconds of waiting before those are named that are waited for
_AGAIN = 60  # seconds until they are named again


def wait_for_all(moment: str, minutes: float = MINUTES) -> None:
    """Returns when all processes have called this; names those that are missing meanwhile.

    Args:
      moment: what all come to; used once in the life of a process.
      minutes: the longest wait.

    Raises:
      ValueError: not all have come by then; names those that have not.
    """
    client = coordination.client()
    if client is None:
        return
    post(f"at {moment}", "")
    with _naming_the_missing(moment):
        try:
            client.wait_at_barrier(f"hmsa/{moment}", int(minutes * 60_000))
        except RuntimeError as error:
            missing = _missing(moment)
            if not missing:
                raise
            raise ValueError(
                f"{_names(missing)} did not come to {moment!r} within {minutes:g} minutes; see what"
                " is said there"
            ) from error


@contextlib.contextmanager
def first_before_others(moment: str, minutes: float = MINUTES) -> Iterator[None]:
    """Runs the body in the first process and, when it is done there, in the others.

    Args:
      moment: as for `wait_for_all`.
      minutes: as for `wait_for_all`.
    """
    is_first = jax.process_index() == 0
    if not is_first:
        wait_for_all(moment, minutes)
    try:
        yield
    finally:
        if is_first:
            wait_for_all(moment, minutes)


def check_agreement(moment: str, facts: Mapping[str, str], minutes: float = MINUTES) -> None:
    """Checks that all processes are about to do the same.

    Args:
      moment: as for `wait_for_all`.
      facts: what has to be equal, name -> value, both in words that a user knows.
      minutes: as for `wait_for_all`.

    Raises:
      ValueError: in every process, if a fact differs between any two; each prints which.
    """
    if coordination.client() is None:
        return
    texts = gathered(f"facts of {moment}", json.dumps(facts), minutes)
    differing = disagreements([json.loads(text) for text in texts], _hosts())
    if differing:
        set_quiet(False)  # on whatever machine somebody looks
        raise ValueError(
            "the processes are not about to do the same; start all of them with the same command"
            " on the same data:\n  " + "\n  ".join(differing)
        )


def disagreements(facts: Sequence[Mapping[str, str]], names: Mapping[int, str]) -> list[str]:
    """The facts that differ, a line each, with the processes that have each value.

    Args:
      facts: name -> value, by process.
      names: of their hosts.
    """
    lines = []
    for name in dict.fromkeys(name for of_process in facts for name in of_process):
        holders: dict[str, list[int]] = {}
        for index, of_process in enumerate(facts):
            holders.setdefault(of_process.get(name, "missing"), []).append(index)
        if len(holders) > 1:
            values = [f"{value} in {_names(held, names)}" for value, held in holders.items()]
            lines.append(f"{name}: {'; '.join(values)}")
    return lines


def post(name: str, text: str) -> None:
    """Lets the other processes read a text, if there are any; each has one text under a name."""
    client = coordination.client()
    if client is not None:
        key = f"hmsa/{name}/{jax.process_index()}"
        client.key_value_set(key, text, allow_overwrite=True)


def posted(name: str) -> dict[int, str]:
    """The texts that processes have posted under a name so far, by process.

    It takes well under 1 ms.
    """
    client = coordination.client()
    if client is None:
        return {}
    found = client.key_value_dir_get(f"hmsa/{name}/")
    return dict(sorted((int(key.rpartition("/")[2]), text) for key, text in found))


def gathered(moment: str, text: str, minutes: float = MINUTES) -> list[str]:
    """The texts of all processes, which all call this.

    Args:
      moment: as for `wait_for_all`.
      text: of this process.
      minutes: as for `wait_for_all`.
    """
    if coordination.client() is None:
        return [text]
    post(moment, text)
    wait_for_all(moment, minutes)
    return list(posted(moment).values())


def from_first(moment: str, make: Callable[[], str]) -> str:
    """What `make` returns in the first process, in all of them, which all call this.

    Args:
      moment: as for `wait_for_all`.
      make: called in the first process alone.

    Raises:
      ValueError: as `make` does, or because of an OSError there; in all processes alike.
    """
    if coordination.client() is None:
        return make()
    if jax.process_index() == 0:
        try:
            post(moment, json.dumps([True, make()]))
        except (ValueError, OSError) as error:
            post(moment, json.dumps([False, str(error)]))
    wait_for_all(moment)
    is_made, text = json.loads(posted(moment)[0])
    if not is_made:
        raise ValueError(text)
    return text


def say_host() -> None:
    """Lets the other processes know on which host this one is."""
    post(_HOST, socket.gethostname())


def _hosts() -> dict[int, str]:
    return posted(_HOST)


def _missing(moment: str) -> list[int]:
    here = posted(f"at {moment}")
    return [index for index in range(jax.process_count()) if index not in here]


def _names(processes: Sequence[int], names: Mapping[int, str] | None = None) -> str:
    """Processes with their hosts, in words."""
    names = _hosts() if names is None else names
    each = [f"{i} ({names[i]})" if i in names else str(i) for i in processes]
    return f"process{'es' if len(each) > 1 else ''} {', '.join(each)}"


@contextlib.contextmanager
def _naming_the_missing(moment: str) -> Iterator[None]:
    """While the body waits, the first of those that have come says who has not."""
    done = threading.Event()

    def name() -> None:
        seconds = _SILENT
        while not done.wait(seconds):
            seconds = _AGAIN
            with contextlib.suppress(RuntimeError):  # the wait itself says what is wrong
                missing, speaker = _missing(moment), min(posted(f"at {moment}"))
                if missing and speaker == jax.process_index():
                    print(f"Waiting for {_names(missing)} at {moment!r}.", file=sys.stderr)

    thread = threading.Thread(target=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
