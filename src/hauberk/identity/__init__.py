"""SPIFFE: names, certificates and when to change them; no clock, no socket, no key that signs."""
