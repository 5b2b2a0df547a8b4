"""Figures, beside those of the peers in the same run: `make bench`, or `make bench ONLY=stepfunctions`.

Each module is one benchmark and has a `main`.  Nothing here is asserted: tests never look at times.
"""
