"""What the mesh reports: typed records and the store that keeps them."""
