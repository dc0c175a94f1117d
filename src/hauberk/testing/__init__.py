"""A mesh in a test: real sidecars, real certificates, gone afterwards."""
