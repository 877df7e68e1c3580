"""Joining the processes that run one command together, and leaving them."""

import atexit
import contextlib
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax

from hmsa_jax.distributed import coordination, hosts, launchers, liveness
from hmsa_jax.runtime.console import set_quiet
from hmsa_jax.runtime.progress import tell

EXPECTED = "off, auto, or HOST:PORT,COUNT,INDEX, like 10.0.0.1:8476,2,0"

_PATIENCE = 300  # seconds in which all processes have to start
_SECONDS_TO_FAIL = 10  # between processes that fail for the same reason
_LINES = "lines"
_HEARTBEAT = 50  # seconds without one after which JAX takes a process for dead
_BY_HAND = "--distributed"


@contextlib.contextmanager
def joined(how: str | None) -> Iterator[None]:
    """Makes this process one of several while the body runs; only the first one prints.

    Nothing may have asked JAX for its devices before. If the body fails in some processes and not
    in others, or if one dies, all end and say why.

    Args:
      how: 'off': there is one process. 'auto': JAX finds the others, on a TPU pod and under Slurm
        or Open MPI. 'HOST:PORT,COUNT,INDEX': this is process INDEX of COUNT, and the process of
        index 0 runs on HOST, where PORT is free. None: 'auto' where the environment of this process
        says that it is one of several, else 'off'.

    Raises:
      ValueError: it is none of these, or the others are not found.
    """
    launcher = launchers.evident() if how in (None, "auto") else None
    if how == "off" or (how is None and not _is_one_of_several(launcher)):
        yield
        return
    # JAX would catch SIGTERM itself, and Python would not see it; `preemption` tells the others.
    jax.config.update("jax_enable_preemption_service", False)
    if how not in (None, "auto"):
        _initialize(_by_hand(how))
    else:
        _initialize(None if launcher is None else launchers.place(launcher, _PATIENCE))
    set_quiet(jax.process_index() > 0)
    if jax.process_count() > 1:
        tell(f"{jax.process_count()} processes with {jax.device_count()} devices.")
    hosts.say_host()
    lines = _open_lines()
    try:
        yield
    except BaseException as error:
        if not _all_fail():
            set_quiet(False)
            lines.close(f"{type(error).__name__}: {error}".splitlines()[0])
            atexit.register(_leave_the_others)
        raise
    finally:
        lines.close()


def _is_one_of_several(launcher: Any | None) -> bool:
    """Whether a launcher started several processes, which is told."""
    if launcher is None or (count := launcher.get_process_count()) == 1:
        return False
    if launcher.get_process_id() == 0:
        tell(
            f"{launchers.TITLES[launcher.name]} runs {count} of these processes, which work"
            " together (with --distributed=off each works by itself)."
        )
    return True


def _open_lines() -> liveness.Lines:
    """Lines between process 0 and the others; without one JAX alone says who has died."""
    index = jax.process_index()
    lines = liveness.Lines(index, liveness.leave)
    if jax.process_count() == 1:
        return lines
    if index == 0:
        hosts.post(_LINES, lines.listen())
    hosts.wait_for_all("start")
    if index:
        host = coordination.address().rpartition(":")[0].strip("[]")
        try:
            lines.reach(host, hosts.posted(_LINES)[0])
        except OSError as error:
            print(
                f"Process {index} gets no line to process 0 on {host} ({error}): if one of them"
                " dies, JAX alone says so.",
                file=sys.stderr,
            )
    hosts.wait_for_all("lines between processes")
    return lines


def _by_hand(how: str) -> launchers.Place:
    match = re.fullmatch(r"(?P<address>\S+:\d+),(?P<count>\d+),(?P<index>\d+)", how)
    if not match:
        raise ValueError(f"{_BY_HAND} is {how!r}; expected {EXPECTED}")
    address, count, index = match["address"], int(match["count"]), int(match["index"])
    if index >= count:
        raise ValueError(f"{_BY_HAND} is {how!r}, whose INDEX is {index}; expected 0 to COUNT - 1")
    return launchers.Place(_BY_HAND, address, count, index)


def _initialize(place: launchers.Place | None) -> None:
    """Makes JAX know of the others; None: JAX finds them."""
    options: dict[str, Any] = {}
    if place is not None:
        _prepare(place)
        options = dict(
            coordinator_address=place.address,
            num_processes=place.count,
            process_id=place.index,
            local_device_ids=place.devices,
            cluster_detection_method="deactivate",
        )
    try:
        jax.distributed.initialize(
            initialization_timeout=_PATIENCE, heartbeat_timeout_seconds=_HEARTBEAT, **options
        )
    except (RuntimeError, ValueError) as error:
        if place is not None:
            raise ValueError(f"{place.launcher} ({place.address}): {error}") from error
        raise ValueError(
            f"{_BY_HAND}=auto: {error} Where JAX finds no other processes, name them:"
            " HOST:PORT,COUNT,INDEX."
        ) from error


def _prepare(place: launchers.Place) -> None:
    """Finds out whether the processes can meet: where they cannot, JAX would dump core."""
    if place.index:
        _reach(place)
    elif place.count > 1:
        _check_free(place)
        if place.launcher == _BY_HAND:
            tell(
                f"Waiting up to {_PATIENCE // 60} minutes for processes 1 to {place.count - 1} of"
                f" {place.count}, to be started with"
                f" {_BY_HAND}={place.address},{place.count},INDEX."
            )


def _check_free(place: launchers.Place) -> None:
    port = place.address.rpartition(":")[2]
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a run may just have ended
        try:
            listener.bind(("", int(port)))
        except (OSError, OverflowError) as error:
            other = "Name another port; of the processes only one has INDEX 0."
            if place.launcher != _BY_HAND:
                other = "JAX_COORDINATOR_PORT=PORT, for all processes, names another."
            raise ValueError(
                f"{place.launcher} names port {port}, which is not free here: {error}. {other}"
            ) from error


def _reach(place: launchers.Place) -> None:
    """Waits until something listens there."""
    host, _, port = place.address.rpartition(":")
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except (OSError, OverflowError) as error:
            if time.monotonic() > deadline:
                other = "Start the process of INDEX 0 there"
                if place.launcher != _BY_HAND:
                    other = "JAX_COORDINATOR_ADDRESS=HOST:PORT, for all processes, names another"
                raise ValueError(
                    f"{place.launcher} names {place.address}, where no process listens: {error}."
                    f" {other}, and let the others through to that port."
                ) from error
            time.sleep(0.5)


def _all_fail() -> bool:
    """Whether the other processes are about to fail, too: for the same reason, most likely."""
    client = coordination.client()
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
