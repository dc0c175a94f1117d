"""The xDS protocol as values: resources, sets of them, and the delta conversation about them."""
