"""Use cases, shared by every surface; each works inside one namespace."""
