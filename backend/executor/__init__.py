"""Composition roots: where the parts are put together."""
