"""`chatledger start --mode ui` as a child process, which ends when its standard input does: that is
when its parent is gone."""

import os
import signal
import sys
import threading

from interfaces.cli.main import main


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(main(["start", "--mode", "ui", *sys.argv[1:]]))
