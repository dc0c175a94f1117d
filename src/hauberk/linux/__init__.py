"""Namespaces, mounts, users, capabilities and processes by system call: no binary of the machine is run."""
