#!/usr/bin/env bash
# Prints the path of ghz; installs it into FOLDER if it is not there:
# install.sh FOLDER. Exit code 77: it cannot be had.
set -euo pipefail

command -v ghz && exit
if [ ! -x "$1/ghz" ]; then
    command -v go >/dev/null || { echo "there is neither ghz nor a Go to install it" >&2; exit 77; }
    # The limit is for a network that swallows packets.
    GOTOOLCHAIN=local GOBIN=$1 timeout 300 go install github.com/bojand/ghz/cmd/ghz@v0.93.0 >&2 ||
        { echo "go cannot install ghz" >&2; exit 77; }
fi
echo "$1/ghz"
