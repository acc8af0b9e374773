"""Forethought makes a reasoning model, measures it, decides whether it may be used, publishes what was found, and
serves it: and refuses to serve what has not passed."""

__version__ = "0.1.0"
