"""Tests, and the match data generators under the import path that their users know."""
