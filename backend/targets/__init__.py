"""What a run is sent to: one file per kind, and one line in the registry."""
