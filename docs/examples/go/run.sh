#!/usr/bin/env bash
# Runs the Go example against a gateway: run.sh FOLDER GRPC
# Builds in FOLDER only. Exit code 77: Go, protoc or the modules cannot be had.
set -euo pipefail
work=$1 grpc=$2
here=$(cd "$(dirname "$0")" && pwd)
proto=$here/../../../proto

# The limits of time are for a network that swallows packets.
skip() { echo "skipped: $1" >&2; exit 77; }
command -v go >/dev/null || skip "no go"
if command -v protoc >/dev/null; then
    protoc=(protoc)
else
    # grpcio-tools brings a protoc.
    command -v python3 >/dev/null || skip "neither protoc nor python3 to install one"
    [ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv" || skip "python3 has no venv"
    timeout 300 "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        grpcio-tools==1.85.1 >&2 ||
        skip "pip cannot install grpcio-tools"
    protoc=("$work/venv/bin/python" -m grpc_tools.protoc)
fi
export GOTOOLCHAIN=local GOBIN=$work/bin PATH=$work/bin:$PATH
for plugin in google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12 \
    google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2; do
    name=${plugin##*/}
    [ -x "$GOBIN/${name%@*}" ] || timeout 300 go install "$plugin" >&2 || skip "go cannot install $plugin"
done

cp "$here"/main.go "$here"/go.mod "$here"/go.sum "$work"
cd "$work"
package=example.com/sendevents/stashgatev1
"${protoc[@]}" -I "$proto" \
    --go_out=. --go_opt=module=example.com/sendevents \
    --go-grpc_out=. --go-grpc_opt=module=example.com/sendevents \
    --go_opt=Mstashgate/v1/ingest.proto=$package --go-grpc_opt=Mstashgate/v1/ingest.proto=$package \
    stashgate/v1/ingest.proto
timeout 300 go mod download >&2 || skip "go cannot download the modules"
go build -o send_events .
./send_events "$grpc"
