"""A fixture for folders of tests in which whoever asks for a folder is run once for each kind of database.

A server, or a system, is opened in a folder; so this reaches all that open one, also by fixtures that many tests share.
"""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def tmp_path_factory(tmp_path_factory: pytest.TempPathFactory, database_of_servers: str) -> pytest.TempPathFactory:
    """Make folders whose databases are of the kind that is tested now."""
    assert database_of_servers
    return tmp_path_factory
