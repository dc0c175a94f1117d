"""Decides allow or deny, and says why, without Envoy and without I/O."""
