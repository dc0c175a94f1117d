"""Interception: which rules make all of a pod's TCP pass its sidecar, and how they are put into its network namespace."""
