"""The parts of `benchmarks/rl.py`: the problems, the contestants, how each is run, and what is made of it."""
