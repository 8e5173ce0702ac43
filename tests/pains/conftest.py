"""What opens a database here runs on every kind of it, unless marked `sqlite_only(why)` or `postgres_only(why)`."""

from tests.each_database import tmp_path_factory

__all__ = ["tmp_path_factory"]
