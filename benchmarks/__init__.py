"""Speed and quality, measured: `make bench` prints one table from one run and keeps it.

`bench` holds what measurements share, each measurement is a module with a function `measure`, `report` writes.
"""
