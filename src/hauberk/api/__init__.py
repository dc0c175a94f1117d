"""What users write: one module per kind, each with its types, defaults and checks."""
