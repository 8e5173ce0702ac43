"""Modules that the tests of the python target allow."""
