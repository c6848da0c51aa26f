"""Sends batches of events over gRPC, each until it is answered.

    python send_events.py 127.0.0.1:7171
"""

import json
import os
import random
import sys
import time

import grpc
from stashgate.v1 import ingest_pb2, ingest_pb2_grpc

AGAIN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)


def new_batch_id():
    """Ids that begin with the time keep Elasticsearch's look-ups cheap."""
    return time.time_ns().to_bytes(8, "big") + os.urandom(8)


def append(stub, events):
    """Sends one batch until the gateway has made it durable.

    The batch keeps its id: if an answer is lost, its events are not indexed
    twice. Raises grpc.RpcError for what will never be accepted.
    """
    ndjson = "".join(json.dumps(event) + "\n" for event in events).encode()
    request = ingest_pb2.AppendRequest(batch_id=new_batch_id(), ndjson=ndjson)
    wait = 0.1
    while True:
        try:
            return stub.Append(request, timeout=30)
        except grpc.RpcError as error:
            if error.code() not in AGAIN:
                raise
        time.sleep(random.uniform(0, wait))
        wait = min(2 * wait, 15)


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7171"
    with grpc.insecure_channel(address, compression=grpc.Compression.Gzip) as channel:
        stub = ingest_pb2_grpc.IngestServiceStub(channel)
        for first in range(0, 2000, 500):
            answer = append(stub, ({"seq": first + n, "from": "python"} for n in range(500)))
            for event in answer.rejected:
                print(f"event {event.index} was not accepted: {event.detail}")
            print(f"{answer.accepted} accepted")


if __name__ == "__main__":
    main()
