"""The object API: what the command line and the agents talk to."""
