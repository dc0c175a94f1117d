"""What in a rule base is dead, contradicts itself, means nobody or means more than it reads: said of objects, without I/O."""
