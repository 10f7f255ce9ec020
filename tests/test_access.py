"""Without sign-in the server serves this machine only."""

import pytest

from ui import access


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_the_server_refuses_to_listen_where_others_could_come_in(address):
    with pytest.raises(SystemExit, match="Refusing to listen"):
        access.refuse_open_address(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1"])
def test_the_server_listens_on_the_loopback(address):
    access.refuse_open_address(address)
    assert access.is_loopback_host(address)


@pytest.mark.parametrize("host", ["localhost:1", "LOCALHOST", "127.9.9.9:80", "[::1]", "[::1]:8501"])
def test_loopback_names_are_known(host):
    assert access.is_loopback_host(host)


@pytest.mark.parametrize("host", ["", "localhost.evil", "127.0.0.1.evil", "2130706433", "0x7f.1", "evil:80", "[evil]"])
def test_other_names_are_not_loopback(host):
    assert not access.is_loopback_host(host)
