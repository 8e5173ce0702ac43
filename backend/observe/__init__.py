"""What the outside sees of the inside: log lines and metrics, both made from facts."""
