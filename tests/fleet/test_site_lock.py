"""Requests of other commands to the supervisor of a site."""

from pathlib import Path

import pytest

from maskstream.errors import StoreError
from maskstream.fleet.site_lock import is_led, request, site_lock, take_requests


@pytest.mark.parametrize("node", ["east", "rack 1/east", "../east", "ost.büro", "50%"])
def test_a_request_reaches_the_supervisor_once_whatever_the_node_is_called(tmp_path: Path, node: str) -> None:
    request(tmp_path, ("drain", node))
    assert list(take_requests(tmp_path)) == [("drain", node)]
    assert list(take_requests(tmp_path)) == []


def test_a_request_that_could_not_be_done_is_kept(tmp_path: Path) -> None:
    request(tmp_path, ("undrain", "east"))
    taken = take_requests(tmp_path)
    assert next(taken) == ("undrain", "east")
    with pytest.raises(StoreError):
        taken.throw(StoreError("the disk is full"))
    assert list(take_requests(tmp_path)) == [("undrain", "east")]


def test_one_supervisor_leads_a_site(tmp_path: Path) -> None:
    with site_lock(tmp_path, "site"):
        assert is_led(tmp_path)
    assert not is_led(tmp_path)
