"""A durable scheduling server: every occurrence of a schedule becomes exactly one recorded run."""
