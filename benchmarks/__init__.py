"""Benchmarks: ``make bench NAME=<name>``; the last line of each is one JSON object."""
