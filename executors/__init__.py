"""Executors: Jina adapters over the library."""

import os

# before jina is imported: it reports every start to its maker otherwise
os.environ.setdefault("JINA_OPTOUT_TELEMETRY", "1")
