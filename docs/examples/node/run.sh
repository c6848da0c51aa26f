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
[ -d node_modules/winston-logstash ] ||
    npm install --silent --no-save --no-fund --no-audit winston@3 winston-logstash@2 >&2 ||
    skip "npm cannot install the packages"
node log.js "${tcp%:*}" "${tcp##*:}"
