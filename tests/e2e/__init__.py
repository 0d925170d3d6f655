"""Tests of what is shipped, from the outside."""
