#!/usr/bin/env bash
# A host whose packets are dropped in the middle of the work: everything that was
# accepted has to be confirmed by the other host, and what it held goes there too.
# Two network namespaces of its own; needs root, iproute2, curl and python3.
#
#     cargo build --release --bin stashgate --example loadtest && loadtest/dropped.sh [PROTOCOL]
set -euo pipefail
cd "$(dirname "$0")/.."
loadtest=$PWD/target/release/examples/loadtest
gateway=$PWD/target/release/stashgate
near=stashgate-near far=stashgate-far folder=$(mktemp -d)
pids=()

finish() {
  kill "${pids[@]}" 2>/dev/null || true
  wait
  ip netns del $near 2>/dev/null || true
  ip netns del $far 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT

ip netns add $near
ip netns add $far
ip link add stashgate0 netns $near type veth peer name stashgate1 netns $far
ip -n $near addr add 10.99.0.1/24 dev stashgate0
ip -n $far addr add 10.99.0.2/24 dev stashgate1
for link in "$near lo" "$near stashgate0" "$far lo" "$far stashgate1"; do
  ip -n ${link% *} link set ${link#* } up
done

ip netns exec $near "$loadtest" sink --listen 127.0.0.1:5000 >/dev/null & pids+=($!)
ip netns exec $far "$loadtest" sink --listen 10.99.0.2:5000 >/dev/null & pids+=($!)
cat >"$folder/stashgate.toml" <<TOML
data_dir = "$folder/data"
[queues.logstash.output]
protocol = "${1:-json_lines}"
hosts = ["127.0.0.1:5000", "10.99.0.2:5000"]
direct = true
TOML
ip netns exec $near "$gateway" run --config "$folder/stashgate.toml" 2>"$folder/log" & pids+=($!)
sleep 2

show() {
  ip netns exec $near curl -s http://127.0.0.1:7170/api/v1/status | python3 -c "
import json, sys
queue = json.load(sys.stdin)['queues'][0]
ledger = queue['ledger']
print('$1: accepted', ledger['accepted'], 'confirmed', ledger['confirmed'],
      [(e['address'], e['state'], e['confirmed_events']) for e in queue['endpoints']])
sys.exit(ledger['accepted'] != ledger['confirmed'])"
}

cat >"$folder/send.py" <<'PYTHON'
import time, urllib.request
end, number = time.time() + 75, 0
while time.time() < end:
    lines = (f'{{"n":{number + i},"m":"{"x" * 250}"}}\n' for i in range(500))
    request = urllib.request.Request("http://127.0.0.1:7172/v1/events",
        data="".join(lines).encode(), headers={"Content-Type": "application/x-ndjson"})
    urllib.request.urlopen(request).read()
    number += 500
    time.sleep(0.02)
PYTHON
ip netns exec $near python3 "$folder/send.py" & sender=$!
sleep 8
show "before" || true
ip -n $far link set stashgate1 down
echo "packets of 10.99.0.2 are dropped"
sleep 30
show "30 s later" || true
wait $sender
sleep 10
show "at the end"
