"""Measures a checkpoint: attempts at problems, and what they add up to."""
