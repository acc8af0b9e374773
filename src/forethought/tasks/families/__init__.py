"""The families that ship: one a file."""
