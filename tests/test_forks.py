"""What a child of the tests does with the garbage of its parent."""

import gc
import os

from tests.forks import fork


class Codec:
    """Garbage that only the process that made it may delete."""

    def __init__(self) -> None:
        self.cycle = self
        self.owner = os.getpid()

    def __del__(self) -> None:
        if os.getpid() != self.owner:
            os._exit(1)


def test_a_child_does_not_collect_the_garbage_of_its_parent() -> None:
    gc.collect()
    Codec()
    child = fork()
    if not child:
        gc.collect()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert gc.get_freeze_count() == 0
