"""Numbered migrations; the schema is their sum."""
