"""Joins what users declared into one frozen picture: which services exist, where they are, and which policies concern whom."""
