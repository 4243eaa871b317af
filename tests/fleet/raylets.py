"""A Ray cluster on this machine: several raylets, which stand for the machines of a site."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NODES = ("east", "north", "west")
_STORE_BYTES = 80 * 2**20
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # else Ray writes a token into the user's home
    "RAY_gcs_rpc_server_reconnect_timeout_s": "31536000",  # raylets, workers and this process go on without the head
}


class Raylets:
    """A cluster that tests break. Programs connect through the raylet of the first node, which goes on for as long as they do."""

    def __init__(self, folder: str, names: tuple[str, ...] = NODES) -> None:
        """Start the head with the first node, and the other nodes.

        Args:
            folder: For Ray's sockets and logs; a short path.
            names: Each node has one core.
        """
        from ray.cluster_utils import Cluster

        self._folder = folder
        first = {"include_dashboard": False, "temp_dir": folder} | _node(names[0])
        self._cluster = Cluster(initialize_head=True, head_node_args=first)
        self._nodes: dict[str, Any] = {names[0]: self._cluster.head_node}
        for name in names[1:]:
            self.add_node(name)

    @property
    def address(self) -> str:
        """HOST:PORT of the head."""
        address: str = self._cluster.address
        return address

    @property
    def names(self) -> list[str]:
        """The nodes."""
        return list(self._nodes)

    def add_node(self, name: str, **environment: str) -> None:
        """Start a raylet with these variables, and wait until the head knows it."""
        self._nodes[name] = self._cluster.add_node(**_node(name), env_vars=environment)

    def kill_node(self, name: str) -> None:
        """Kill a raylet with its workers, as a machine that loses its power."""
        self._cluster.remove_node(self._nodes.pop(name), allow_graceful=False)

    def kill_head(self) -> None:
        """Kill the head's process. Nothing brings it back."""
        self._cluster.head_node.kill_gcs_server()

    def close(self) -> None:
        """End all raylets."""
        self._cluster.shutdown()


@contextmanager
def running(names: tuple[str, ...] = NODES) -> Iterator[Raylets]:
    """Run a cluster with these nodes; without Ray the test is skipped, or fails where `MASKSTREAM_REQUIRE_TOOLS` is set."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _ENVIRONMENT.items():
            patch.setenv(name, value)
        try:
            import ray  # noqa: F401
        except ModuleNotFoundError:
            message = "ray is missing: pip install -r requirements-fleet.txt"
            (pytest.fail if os.environ.get("MASKSTREAM_REQUIRE_TOOLS") else pytest.skip)(message)
        folder = tempfile.mkdtemp(prefix="ray-")
        raylets = Raylets(folder, names)
        try:
            yield raylets
        finally:
            raylets.close()
            shutil.rmtree(folder, ignore_errors=True)


def _node(name: str) -> dict[str, Any]:
    return {"num_cpus": 1, "object_store_memory": _STORE_BYTES, "node_name": name}
