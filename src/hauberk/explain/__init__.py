"""What would become of a request, and why: every layer from the caller's sidecar to the deciding rule, without Envoy and without I/O."""
