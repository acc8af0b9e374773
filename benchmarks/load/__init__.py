"""The parts of `benchmarks/front_end.py`: what is sent, to which servers, how it is run, and what is made of it."""
