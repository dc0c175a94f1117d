"""Pilot: watches the objects, keeps every proxy's configuration up to date, and knows who has acknowledged what."""
