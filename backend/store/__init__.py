"""Durable state behind four small ports; see port.py."""
