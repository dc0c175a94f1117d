"""Policy tests: expectations about requests, held against the objects of files."""
