"""Timing rules: frozen values that answer one question, without clock or I/O."""
