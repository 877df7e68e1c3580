"""Several processes that run one command together: joining, waiting for each other, leaving."""

import atexit
import contextlib
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from hmsa_jax.runtime.console import set_quiet
from hmsa_jax.runtime.progress import tell

EXPECTED = "off, auto, or HOST:PORT,COUNT,INDEX, like 10.0.0.1:8476,2,0"

_PATIENCE = 300  # seconds in which all processes have to start
_LONGEST_WAIT = 7 * 24 * 3600  # seconds, for what others have to do alone, like building a data set
_SECONDS_TO_FAIL = 10  # between processes that fail for the same reason


@contextlib.contextmanager
def joined(how: str) -> Iterator[None]:
    """Makes this process one of several while the body runs; only the first one prints.

    Nothing may have asked JAX for its devices before. If the body fails in some processes and not
    in others, those that failed leave at once and say why; JAX then ends the others.

    Args:
      how: 'off': there is one process. 'auto': JAX finds the others, on a TPU pod and under Slurm
        or Open MPI. 'HOST:PORT,COUNT,INDEX': this is process INDEX of COUNT, and the process of
        index 0 runs on HOST, where PORT is free.

    Raises:
      ValueError: it is none of these, or the others are not found.
    """
    if how == "off":
        yield
        return
    # JAX would catch SIGTERM itself, and Python would not see it; `preemption` tells the others.
    jax.config.update("jax_enable_preemption_service", False)
    if how == "auto":
        _initialize(how)
    else:
        _initialize_by_hand(how)
    set_quiet(jax.process_index() > 0)
    if jax.process_count() > 1:
        tell(f"{jax.process_count()} processes with {jax.device_count()} devices.")
    try:
        yield
    except BaseException:
        if not _all_fail():
            set_quiet(False)
            atexit.register(_leave_the_others)
        raise


def wait_for_all(moment: str) -> None:
    """Returns when all processes have called this.

    Args:
      moment: a name that is used once in the life of a process.
    """
    client = _coordination_client()
    if client is not None:
        client.wait_at_barrier(f"hmsa/{moment}", _LONGEST_WAIT * 1000)


@contextlib.contextmanager
def first_before_others(moment: str) -> Iterator[None]:
    """Runs the body in the first process and, when it is done there, in the others.

    Args:
      moment: as for `wait_for_all`.
    """
    is_first = jax.process_index() == 0
    if not is_first:
        wait_for_all(moment)
    try:
        yield
    finally:
        if is_first:
            wait_for_all(moment)


def check_agreement(moment: str, facts: Mapping[str, str]) -> None:
    """Checks that all processes are about to do the same.

    Args:
      moment: as for `wait_for_all`.
      facts: what has to be equal, name -> value, both in words that a user knows.

    Raises:
      ValueError: in every process, if a fact differs between any two; each prints which.
    """
    if _coordination_client() is None:
        return
    texts = gathered(f"facts of {moment}", json.dumps(facts))
    differing = disagreements([json.loads(text) for text in texts])
    if differing:
        set_quiet(False)  # on whatever machine somebody looks
        raise ValueError(
            "the processes are not about to do the same; start all of them with the same command"
            " on the same data:\n  " + "\n  ".join(differing)
        )


def disagreements(facts: Sequence[Mapping[str, str]]) -> list[str]:
    """The facts that differ, a line each, with the processes that have each value.

    Args:
      facts: name -> value, by process.
    """
    lines = []
    for name in dict.fromkeys(name for of_process in facts for name in of_process):
        holders: dict[str, list[int]] = {}
        for index, of_process in enumerate(facts):
            holders.setdefault(of_process.get(name, "missing"), []).append(index)
        if len(holders) > 1:
            values = [
                f"{value} in process{'es' if len(held) > 1 else ''} {', '.join(map(str, held))}"
                for value, held in holders.items()
            ]
            lines.append(f"{name}: {'; '.join(values)}")
    return lines


def post(name: str, text: str) -> None:
    """Lets the other processes read a text, if there are any; each has one text under a name."""
    client = _coordination_client()
    if client is not None:
        key = f"hmsa/{name}/{jax.process_index()}"
        client.key_value_set(key, text, allow_overwrite=True)


def posted(name: str) -> list[str]:
    """The texts that processes have posted under a name so far, in their order.

    It takes well under 1 ms.
    """
    client = _coordination_client()
    if client is None:
        return []
    found = client.key_value_dir_get(f"hmsa/{name}/")
    return [text for _, text in sorted(found, key=lambda pair: int(pair[0].rpartition("/")[2]))]


def gathered(moment: str, text: str) -> list[str]:
    """The texts of all processes, which all call this.

    Args:
      moment: as for `wait_for_all`.
      text: of this process.
    """
    if _coordination_client() is None:
        return [text]
    post(moment, text)
    wait_for_all(moment)
    return posted(moment)


def from_first(moment: str, make: Callable[[], str]) -> str:
    """What `make` returns in the first process, in all of them, which all call this.

    Args:
      moment: as for `wait_for_all`.
      make: called in the first process alone.

    Raises:
      ValueError: as `make` does, or because of an OSError there; in all processes alike.
    """
    if _coordination_client() is None:
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


def _initialize_by_hand(how: str) -> None:
    match = re.fullmatch(r"(?P<address>\S+:\d+),(?P<count>\d+),(?P<index>\d+)", how)
    if not match:
        raise ValueError(f"--distributed is {how!r}; expected {EXPECTED}")
    address, count, index = match["address"], int(match["count"]), int(match["index"])
    if index >= count:
        raise ValueError(
            f"--distributed is {how!r}, whose INDEX is {index}; expected 0 to COUNT - 1"
        )
    if index:
        _reach(address)
    elif count > 1:
        _check_free(address)
        tell(
            f"Waiting up to {_PATIENCE // 60} minutes for processes 1 to {count - 1} of {count}, to"
            f" be started with --distributed={address},{count},INDEX."
        )
    _initialize(
        how,
        coordinator_address=address,
        num_processes=count,
        process_id=index,
        cluster_detection_method="deactivate",
    )


def _initialize(how: str, **options: Any) -> None:
    try:
        jax.distributed.initialize(initialization_timeout=_PATIENCE, **options)
    except (RuntimeError, ValueError) as error:
        hint = ""
        if how == "auto":
            hint = " Where JAX finds no other processes, name them: HOST:PORT,COUNT,INDEX."
        raise ValueError(f"--distributed={how}: {error}{hint}") from error


def _check_free(address: str) -> None:
    port = address.rpartition(":")[2]
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a run may just have ended
        try:
            listener.bind(("", int(port)))
        except (OSError, OverflowError) as error:
            raise ValueError(
                f"--distributed names port {port}, which is not free here: {error}. Name another"
                " port; of the processes only one has INDEX 0."
            ) from error


def _reach(address: str) -> None:
    """Waits until something listens there; if nothing does, JAX itself would dump core."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except (OSError, OverflowError) as error:
            if time.monotonic() > deadline:
                raise ValueError(
                    f"--distributed names {address}, where no process listens: {error}. Start the"
                    " process of INDEX 0 there, and let the others through to that port."
                ) from error
            time.sleep(0.5)


def _all_fail() -> bool:
    """Whether the other processes are about to fail, too: for the same reason, most likely."""
    client = _coordination_client()
    if client is None:
        return True
    try:
        client.wait_at_barrier("hmsa/failure", _SECONDS_TO_FAIL * 1000)
    except RuntimeError:
        return False
    return True


def _leave_the_others() -> None:
    """Ends the process without the farewell of JAX, for which it would wait for the others."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _coordination_client() -> Any | None:
    """The client of JAX's coordination service, or None unless several processes were joined.

    JAX has no public name for the key-value store and the barriers of this service. This is the
    only place that uses the private name; a test lists the versions of JAX that were tried.
    """
    from jax._src import distributed

    return distributed.global_state.client
