"""The demo: a shop of ordinary programs in a mesh of its own, shown live or verified unattended."""
