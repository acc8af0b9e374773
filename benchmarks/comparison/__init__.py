"""The parts of `benchmarks/engine.py`: what is compared, on which work, how it is run, and what is made of it."""
