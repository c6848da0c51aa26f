#!/usr/bin/env bash
# Sends events over HTTP with curl: curl.sh 127.0.0.1:7172
# Exit code 77: there is no curl.
set -euo pipefail
to=http://${1:-127.0.0.1:7172}
command -v curl >/dev/null || { echo "skipped: no curl" >&2; exit 77; }

# One JSON object a line. The id makes it safe to send the batch again.
printf '{"message":"one"}\n{"message":"two"}\n' |
    curl -sS --fail-with-body --retry 5 --data-binary @- \
        -H 'Content-Type: application/x-ndjson' -H 'Idempotency-Key: order-4711' "$to/v1/events"
echo

# A compressed file.
printf '{"message":"three"}\n' | gzip |
    curl -sS --fail-with-body --retry 5 --data-binary @- \
        -H 'Content-Type: application/x-ndjson' -H 'Content-Encoding: gzip' "$to/v1/events"
echo

# One event, an array of events, a form.
curl -sS --fail-with-body -H 'Content-Type: application/json' -d '{"message":"four"}' "$to/put"
curl -sS --fail-with-body -H 'Content-Type: application/json' -d '[{"n":5},{"n":6}]' "$to/put"
curl -sS --fail-with-body -d 'user[name]=ada&message=seven' "$to/put"
