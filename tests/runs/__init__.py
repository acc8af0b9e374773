"""Randomised runs of the server over HTTP: what is asked, written and broken, and what must hold of all that comes out.

`run` is one run as data, `maker` draws them, `stage` plays the model's side and `house` the server's; `streams` and
`hidden` are the two verdicts. `tests/acceptance` takes thousands of runs through each, the suite a few dozen.
"""
