"""PostgreSQL: one transaction per operation, any number of servers on one database."""
