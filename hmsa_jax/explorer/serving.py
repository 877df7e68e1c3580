"""A server of the explorer, for as long as its command runs."""

import importlib.util
import ipaddress
import socket
from collections.abc import Callable

from hmsa_jax.experiment.run import Run
from hmsa_jax.runtime.progress import tell

_MOST_BYTES = 32 * 2**20  # of a file that is handed in
_PORTS = 65535


def check(port: int, most_pixels: int) -> None:
    """Raises ValueError, naming the flag or the extra, for what cannot be served."""
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"explore needs {' and '.join(missing)}: pip install -r requirements-explore.txt"
        )
    if not 0 <= port <= _PORTS:
        raise ValueError(f"--port is {port}; expected 0 to {_PORTS}")
    if most_pixels < 1:
        raise ValueError(f"--most_pixels is {most_pixels}; expected 1 or more")


def serve(
    run: Run, host: str, port: int, *, most_pixels: int, excuse: Callable[[Exception], str | None]
) -> None:
    """Answers browsers until Ctrl-C or SIGTERM.

    Args:
      run: whose network looks at the pictures.
      host: address to listen at.
      port: to listen at; 0 for a free one.
      most_pixels: of a picture.
      excuse: what a user is told of an error; None for one that only a traceback explains.

    Raises:
      ValueError: nobody can listen there.
    """
    import uvicorn

    from hmsa_jax.explorer.server import Explorer

    try:
        listener = socket.create_server((host, port), family=_family(host))
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"--host and --port are {host} and {port}, where nobody can listen ({error}); name"
            " another port, or 0 for a free one"
        ) from error
    port = listener.getsockname()[1]
    is_own = _is_loopback(host)
    shown = f"[{host}]" if ":" in host else host
    explorer = Explorer(run, _MOST_BYTES, most_pixels, lambda error: excuse(error) or repr(error))
    app = explorer.app({"localhost", "127.0.0.1", "[::1]", shown} if is_own else None)
    reach = (
        "Only this machine can reach it." if is_own else "Whoever reaches this machine can use it."
    )
    tell(f"Explore {run.directory} at http://{shown}:{port}/ (Ctrl-C ends it). {reach}")
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with listener:
        server.run(sockets=[listener])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
