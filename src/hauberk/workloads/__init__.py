"""What keeps pods as their owners declare them."""
