"""The command line: a client of the REST API, plus the few commands that work on this machine's own database.

No module here imports the server, pydantic or the database at its top: `scheduler --help` has to be quick.
"""
