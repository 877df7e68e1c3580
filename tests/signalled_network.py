"""`python -m tests.signalled_network VERB ...` is `tests.short_network` with a signal.

It comes to the second process when its first evaluation has not yet begun its first batch.
"""

import itertools
import os
import signal

import jax

import main
from hmsa_jax.input import whole_images
from hmsa_jax.models.trunks import TRUNKS
from tests.short_network import TRUNK

_calls = itertools.count()


def _signalled(eval_batches):
    def batches(*arguments, **options):
        found = eval_batches(*arguments, **options)
        if next(_calls) == 0 and jax.process_index() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        yield from found

    return batches


if __name__ == "__main__":
    TRUNKS.register("short", TRUNK)
    whole_images.eval_batches = _signalled(whole_images.eval_batches)
    main.start()
