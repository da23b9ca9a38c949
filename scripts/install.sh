#!/bin/sh
# Makes .venv and installs from a lock file: `install.sh run` or `install.sh dev`.
set -eu

what=$1
python=${PYTHON:-python3}
fail() {
    echo "chatledger: $1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    fail "$python is missing; install Python 3.11 or later (Debian: apt-get install python3 python3-venv)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is $("$python" -V 2>&1); install Python 3.11 or later and set PYTHON to it"
if [ ! -x .venv/bin/python ]; then
    echo "Making .venv with $("$python" -V 2>&1)"
    "$python" -m venv .venv 2>/dev/null || {
        rm -rf .venv
        fail "no virtual environment can be made; install venv (Debian: apt-get install python3-venv)"
    }
fi

case $what in
run) lock=requirements.lock ;;
dev) lock=requirements-dev.lock ;;
*) fail "usage: install.sh run|dev" ;;
esac
echo "Installing what $lock names (about 600 MB the first time)"
progress=on
[ -t 1 ] || progress=off
.venv/bin/python -m pip install --quiet --progress-bar "$progress" --disable-pip-version-check \
    --no-deps --require-hashes --requirement "$lock" ||
    fail "the packages could not be installed; the lines above say why (no network?)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
    --no-build-isolation --editable . ||
    fail "chatledger itself could not be installed; the lines above say why"
touch .venv/.run
[ "$what" = run ] || touch .venv/.dev
