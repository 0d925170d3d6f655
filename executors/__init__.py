"""Executors: Jina adapters over the library."""
