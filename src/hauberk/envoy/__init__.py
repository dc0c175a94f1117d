"""Envoy's vocabulary: one door each for messages, names and the binary. Nothing here knows this mesh."""
