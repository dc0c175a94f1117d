"""The agent: one a machine; it runs the machine's pods, their sidecars, their names and their sessions."""
