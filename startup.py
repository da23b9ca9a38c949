"""`python startup.py [--mode all|api|ui] [--skip-init]`: the same as `chatledger start`."""

import sys

from interfaces.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["start", *sys.argv[1:]]))
