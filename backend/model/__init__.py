"""Nouns: frozen values without clock or I/O."""
