"""Ports that tests are given stay theirs."""

import os
import subprocess
import sys
from socket import AF_INET, SOCK_DGRAM, create_connection, create_server, socket

import pytest

from tests.command_lines import ROOT
from tests.ports import free_port, free_udp_ports

ASK = "import os; os.getpid = lambda: {}; from tests.ports import free_udp_ports; print(*free_udp_ports(20))"
"""In a process that begins to look where this one does."""
MANY = 500


@pytest.mark.skipif(sys.platform != "linux", reason="other systems let no server listen at a port that is held")
def test_a_port_refuses_until_a_server_listens_there_and_after_it() -> None:
    port = free_port()
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            create_connection(("127.0.0.1", port))
        with create_server(("127.0.0.1", port)):
            create_connection(("127.0.0.1", port)).close()


@pytest.mark.skipif(sys.platform != "linux", reason="as above")
def test_the_system_gives_a_port_to_nobody_else() -> None:
    ports = {free_port() for _ in range(MANY)}
    with create_server(("127.0.0.1", 0), backlog=MANY) as server:
        clients = [create_connection(server.getsockname()) for _ in range(MANY)]
        others = {client.getsockname()[1] for client in clients}
        for client in clients:
            client.close()
    assert len(ports) == MANY
    assert ports & others == set()


def test_no_other_process_gets_a_udp_port_although_nothing_is_bound_to_it() -> None:
    ports = [*free_udp_ports(20), *free_udp_ports(20)]
    done = subprocess.run([sys.executable, "-c", ASK.format(os.getpid())], cwd=ROOT, capture_output=True, text=True, check=True)
    assert len({*ports, *map(int, done.stdout.split())}) == 60
    for port in (ports[0], ports[0] + 1):
        with socket(AF_INET, SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", port))
