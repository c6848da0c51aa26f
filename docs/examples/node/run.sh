#!/usr/bin/env bash
# Runs the Node.js example against a gateway: run.sh FOLDER TCP
# Installs into FOLDER only. Exit code 77: Node or its packages cannot be had.
set -euo pipefail
work=$1 tcp=$2
here=$(cd "$(dirname "$0")" && pwd)

skip() { echo "skipped: $1" >&2; exit 77; }
command -v node >/dev/null && command -v npm >/dev/null || skip "no node or no npm"
cd "$work"
cp "$here/log.js" .
packages="winston@3.19.0 winston-logstash@2.1.1"
if [ "$(cat installed 2>/dev/null)" != "$packages" ]; then
    # The limit is for a network that swallows packets. $packages is a list.
    timeout 300 npm install --silent --no-save --no-fund --no-audit $packages >&2 ||
        skip "npm cannot install the packages"
    echo "$packages" >installed
fi
node log.js "${tcp%:*}" "${tcp##*:}"
