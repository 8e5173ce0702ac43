"""Works runs off: leases them, dispatches each to its target, writes the results back."""
