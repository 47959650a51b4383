"""The command `python -m pipeline.worker_pool`."""

import sys

from pipeline.runners.worker_pool import main

if __name__ == "__main__":
    sys.exit(main())
