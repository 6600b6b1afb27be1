"""Measurements of quality: golden sets, calibrations, reports. Started with `python -m evals.NAME`."""
