"""The HTTP surface: `/api/v1`, health, metrics."""
