"""What becomes of occurrences: pure decisions, and the few acts that carry them out."""
