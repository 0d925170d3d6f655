"""Tuning that goes on: from what is new, with a sample of what is not, and by itself when enough has come."""
