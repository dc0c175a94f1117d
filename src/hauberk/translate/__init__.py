"""Objects to Envoy: what each proxy must be told so that it does what the mesh's objects say. Pure: bytes in, bytes out."""
