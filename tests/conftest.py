"""Eight simulated devices, set up before anything imports jax, and a small data set."""

import atexit
import contextlib
import ctypes
import gc
import os
import resource
import shutil
import tempfile

from tests import quick_compilation

os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        quick_compilation.FLAGS,
        "--xla_force_host_platform_device_count=8",
    ]
)

# gcsfs reads it once, when the first test imports it. By default it asks Google of what kind each
# bucket is, and waits for a minute.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

# Programs that several tests compile are compiled once, by whichever process is first; those of
# earlier runs do not count.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="hmsa-compiled-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    # With more, glibc keeps for each thread of the compiler what it took at most.
    os.environ["MALLOC_ARENA_MAX"] = "2"

import cv2
import jax
import numpy as np
import pytest

from hmsa_jax.models.trunks import TRUNKS
from hmsa_jax.runtime import leases
from tests import bucket, short_network

# The files that take longest, longest first: the last file to start is then a short one.
LONGEST = (
    "test_published_parity",
    "test_hosts",
    "test_train",
    "test_step",
    "test_spatial",
    "test_multiscale",
    "test_recipes",
    "test_any_size",
    "test_convert",
    "test_export",
    "test_buckets",
    "test_liveness",
    "test_ablate",
    "test_tiles",
    "test_protocol",
    "test_predict",
    "test_backends",
    "test_fusion",
    "test_rmi",
)

if "PYTEST_XDIST_WORKER" not in os.environ:
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


def pytest_collection_modifyitems(items):
    """Brings the longest files to the front; all others keep their order."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="module", autouse=True)
def forget_programs(request):
    """Programs of large networks take no memory when their file is done."""
    yield
    if request.path.stem in LONGEST:
        jax.clear_caches()
        gc.collect()
        with contextlib.suppress(AttributeError, OSError):  # another C library has no such name
            ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="module")
def short_trunk():
    """The trunk "short", whose programs compile in seconds; see `short_network`."""
    with TRUNKS.holding("short", short_network.TRUNK):
        yield


@pytest.fixture(scope="session")
def camvid_tree(tmp_path_factory):
    """A directory in CamVid's layout: 6, 5 and 1 images of 64 x 96 pixels, two classes."""
    root = tmp_path_factory.mktemp("camvid")
    rng = np.random.default_rng(0)
    for folder, count in (("train", 6), ("val", 5), ("test", 1)):
        for kind in ("images", "labels"):
            (root / kind / folder).mkdir(parents=True)
        for i in range(count):
            image = rng.integers(0, 128, (64, 96, 3), np.uint8)
            label = np.full((64, 96), 3, np.uint8)
            edge = rng.integers(20, 50)
            image[:edge], label[:edge] = image[:edge] + 127, 0
            label[:, :4] = 255
            cv2.imwrite(str(root / "images" / folder / f"{folder}{i}.jpg"), image)
            cv2.imwrite(str(root / "labels" / folder / f"{folder}{i}.png"), label)
    return root


@pytest.fixture
def full_disk():
    """`with full_disk(n)`: no file may grow beyond n bytes, as if the disk were full then."""

    @contextlib.contextmanager
    def limit(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


@pytest.fixture(scope="session")
def storage_server():
    """Buckets on this machine, empty; see `tests.bucket`."""
    with bucket.serving():
        yield


@pytest.fixture
def quick_leases(monkeypatch):
    """One who holds a lock in a bucket is soon heard of."""
    monkeypatch.setattr(leases, "SECONDS_BETWEEN_WRITES", 0.2)


@pytest.fixture(scope="module")
def new_bucket(storage_server, request):
    """`gs://NAME` of a bucket that only this module has."""
    return bucket.make(request.path.stem.replace("_", "-"))
