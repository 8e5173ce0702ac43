"""A module whose import fails, since another is missing."""

import no_such_module_anywhere  # type: ignore[import-not-found]  # noqa: F401


def job() -> None:
    """Never called."""
