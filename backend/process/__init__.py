"""Processes: the states they pass through, children that die with their parent, and their supervision."""
