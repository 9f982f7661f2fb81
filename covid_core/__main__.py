"""`python -m covid_core <verb>`."""

import sys

from covid_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
