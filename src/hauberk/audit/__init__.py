"""The audit log: an append-only file of records over which a Merkle tree stands, so that nobody can change the past unseen."""
