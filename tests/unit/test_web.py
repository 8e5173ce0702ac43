"""The port that is opened before anything else."""

from __future__ import annotations

import socket

import pytest

from backend.errors import ConfigurationError
from backend.executor.web import open_port


def test_a_port_in_use_is_named_with_a_setting_that_takes_another():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            open_port("127.0.0.1", port)
    near = port + 1 if port < 65535 else port - 1
    assert str(caught.value) == (f"127.0.0.1:{port} is in use; stop what uses it, or start with SCHEDULER_PORT={near}")


def test_an_address_that_is_not_ours_is_refused_by_the_names_of_the_settings():
    with pytest.raises(ConfigurationError, match=r"SCHEDULER_BIND_HOST, SCHEDULER_PORT: 192\.0\.2\.1:0 cannot be"):
        open_port("192.0.2.1", 0)
