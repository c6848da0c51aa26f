#!/usr/bin/env bash
# Runs the Python examples against a gateway: run.sh FOLDER GRPC TCP
# Installs into FOLDER only. Exit code 77: Python or its packages cannot be had.
set -euo pipefail
work=$1 grpc=$2 tcp=$3
here=$(cd "$(dirname "$0")" && pwd)

skip() { echo "skipped: $1" >&2; exit 77; }
command -v python3 >/dev/null || skip "no python3"
if [ ! -x "$work/venv/bin/python" ]; then
    python3 -m venv "$work/venv" || skip "python3 has no venv"
fi
python=$work/venv/bin/python
# The limit is for a network that swallows packets.
timeout 300 "$python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2 ||
    skip "pip cannot install the packages"

"$python" -m grpc_tools.protoc -I "$here/../../../proto" \
    --python_out="$work" --grpc_python_out="$work" stashgate/v1/ingest.proto
PYTHONPATH=$work "$python" "$here/send_events.py" "$grpc"
"$python" "$here/log.py" "${tcp%:*}" "${tcp##*:}"
