"""``python -m finetuner``."""

import sys

from finetuner.cli import main

if __name__ == "__main__":
    sys.exit(main())
