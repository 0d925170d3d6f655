"""Tests of single modules: fast, and with no network but loopback."""
