"""Lines between processes, by which each learns at once when another fails or dies, and why.

JAX ends processes that are left over, too: after heartbeats have been missing for a while, or at
once when process 0 is gone, with a stack trace that names no cause. A thread of Python may come too
late then, so that another process, the witness, has the last word.
"""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

_GRACE = 3  # seconds in which all processes print what they have learnt, before one of them ends
_VANISHED = 30  # seconds after which a machine that no longer answers is given up
_LONGEST = 2**16  # bytes of a message
_FAREWELL = ""  # in place of what has failed, of a process that is done


class Lines:
    """The line of this process to process 0, or in process 0 those of all others.

    Whoever leaves says so before: a line that ends without a word is that of a dead process.

    Args:
      index: of this process.
      leave: called, in a thread, when it is said that another process has failed or died.
    """

    def __init__(self, index: int, leave: Callable[[], None]):
        self._index, self._leave = index, leave
        self._open: list[socket.socket] = []
        self._witness: subprocess.Popen | None = None
        self._is_over = False
        self._lock = threading.Lock()

    def listen(self) -> str:
        """In process 0: takes the lines of the others; returns what they need to `reach` it."""
        listener = socket.create_server(("", 0), backlog=1024)
        token = secrets.token_hex(8)
        threading.Thread(target=self._serve, args=(listener, token), daemon=True).start()
        return json.dumps([listener.getsockname()[1], token])

    def reach(self, host: str, address: str) -> None:
        """In another process: opens its line. OSError if process 0 cannot be reached."""
        port, token = json.loads(address)
        line = socket.create_connection((host, port), timeout=_VANISHED)
        line.settimeout(None)
        _keep_alive(line)
        _send(line, [token, self._index, socket.gethostname()])
        self._open.append(line)
        self._witness = _witness(self._index, host)
        threading.Thread(target=self._follow, args=(line, host), daemon=True).start()

    def close(self, failure: str = _FAREWELL) -> None:
        """Leaves: the others go on, or are told of the failure."""
        with self._lock:
            self._is_over = True
            self._dismiss_witness()
            for line in self._open:
                with contextlib.suppress(OSError):
                    _send(line, [self._index, socket.gethostname(), failure])

    def _dismiss_witness(self) -> None:
        if self._witness is not None and self._witness.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._witness.stdin.write(b"all is said")
                self._witness.stdin.close()

    def _serve(self, listener: socket.socket, token: str) -> None:
        while True:
            line, _ = listener.accept()
            threading.Thread(target=self._attend, args=(line, token), daemon=True).start()

    def _attend(self, line: socket.socket, token: str) -> None:
        """In process 0: follows the line of another process to its end."""
        _keep_alive(line)
        messages = _messages(line)
        greeting = next(messages, None)
        if not greeting or len(greeting) != 3 or greeting[0] != token:
            line.close()  # of somebody else
            return
        process = greeting[1:]
        with self._lock:
            self._open.append(line)
        farewell = next(messages, None)
        with self._lock:
            self._open.remove(line)
        if farewell is None or farewell[2] != _FAREWELL:
            self._tell_all(farewell or [*process, None])

    def _tell_all(self, message: list) -> None:
        if self._is_over:
            return
        with self._lock:
            for line in self._open:
                with contextlib.suppress(OSError):
                    _send(line, message)
        self._say(_sentence(message))

    def _say(self, sentence: str) -> None:
        sys.stdout.flush()
        os.write(2, f"{sentence}\n".encode())  # at once, without a lock that anybody may hold
        self._dismiss_witness()
        self._leave()

    def _follow(self, line: socket.socket, host: str) -> None:
        """In another process: learns of the end of process 0, or from it of that of a third."""
        message = next(_messages(line), None)
        if not self._is_over and (message is None or message[2:] != [_FAREWELL]):
            self._say(_sentence(message or [0, host, None]))


def _witness(index: int, host: str) -> subprocess.Popen:
    """Speaks for this process if it ends before it has said why."""
    sentence = (
        f"Process {index} on {socket.gethostname()} has ended without a word of ours. Unless"
        f" something above says why, process 0 on {host} is gone (it was killed, ran out of memory,"
        " or its machine or network is down), or this one was killed. The same command goes on."
    )
    code = "import sys; sys.stdin.read() or sys.stderr.write(sys.argv[1] + chr(10))"
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, sentence],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is not for it
    )


def leave() -> None:
    """Ends this process, in a moment: the others are about to say the same."""
    time.sleep(_GRACE)
    os._exit(1)


def _sentence(message: list) -> str:
    index, host, failure = message
    if failure is not None:
        return f"Process {index} on {host} has failed, and this one ends, too: {failure}"
    return (
        f"Process {index} on {host} is gone without a word: it was killed, ran out of memory, or"
        " its machine or network is down. This process ends, too; the same command goes on."
    )


def _send(line: socket.socket, message: list) -> None:
    line.sendall(json.dumps(message).encode() + b"\n")


def _messages(line: socket.socket) -> Iterator[list]:
    """The messages that come on a line, until it ends."""
    data = b""
    with contextlib.suppress(OSError, ValueError):
        while True:
            while b"\n" not in data:
                more = line.recv(4096)
                if not more or len(data) > _LONGEST:
                    return
                data += more
            text, _, data = data.partition(b"\n")
            message = json.loads(text)
            if not isinstance(message, list):
                return
            yield message


def _keep_alive(line: socket.socket) -> None:
    """Ends a line to a machine that has vanished."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("KEEPIDLE", 10), ("KEEPINTVL", 5), ("KEEPCNT", 4)):
        if hasattr(socket, f"TCP_{option}"):  # not on every system
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_{option}"), value)
