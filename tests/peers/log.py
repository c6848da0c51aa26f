"""Logs through python-logstash-async, over the transport that is named.

    log.py TRANSPORT HOST PORT

A line of standard input, `FIRST COUNT`, is so many events to log, numbered from
FIRST. What the library complains about goes to standard error. When standard input
ends, what is left is sent.
"""

import logging
import sys

from logstash_async.constants import constants
from logstash_async.formatter import LogstashFormatter
from logstash_async.handler import AsynchronousLogstashHandler

# It looks for new events, and sends a few, more often than it does by itself:
# every 2 s, and every 10 s.
constants.QUEUE_CHECK_INTERVAL = 0.1
constants.QUEUED_EVENTS_FLUSH_INTERVAL = 0.3
# Instead of 5 s: a busy machine is no failure.
constants.SOCKET_TIMEOUT = 10
# For so long it waits, for nothing, when its TCP connection was refused.
constants.SOCKET_CLOSE_WAIT_TIMEOUT = 0.2

transport, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
# The HTTP transport posts to "/" otherwise.
more = {"path": "v1/events"} if transport == "HttpTransport" else {}
handler = AsynchronousLogstashHandler(
    host, port, database_path=None, transport=f"logstash_async.transport.{transport}", **more
)
handler.setFormatter(LogstashFormatter(extra_prefix=None))
log = logging.getLogger("peer")
log.setLevel(logging.INFO)
log.addHandler(handler)

complaints = logging.getLogger("LogProcessingWorker")
complaints.addHandler(logging.StreamHandler(sys.stderr))
complaints.propagate = False

for line in sys.stdin:
    first, count = map(int, line.split())
    for seq in range(first, first + count):
        log.info("naïve – %s", "x" * 200, extra={"seq": seq})
logging.shutdown()
