"""Fork a process of the tests that has used codecs and models."""

import gc
import os


def fork() -> int:
    """Fork as `os.fork` does. The child does not collect garbage from before.

    A codec of PyAV that is garbage would wait there without end for its threads, which only the parent has.
    """
    gc.freeze()
    process = os.fork()
    if process:
        gc.unfreeze()
    return process
