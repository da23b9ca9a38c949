#!/bin/sh
# The browser test needs Chromium; Debian's package is installed when it is missing.
set -eu
command -v chromium >/dev/null 2>&1 && exit 0
echo "Installing Debian's chromium for the browser test"
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
if ! command -v apt-get >/dev/null 2>&1; then
    echo "chatledger: Chromium is missing and this is no Debian; install it, then make test" >&2
    exit 1
fi
$as_root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq chromium >/dev/null
