"""Clock, places, digests, back-off, logging and HTTP over Unix sockets: what every room uses and no mesh word is needed for."""
