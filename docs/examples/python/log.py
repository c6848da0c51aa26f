"""Python's logging to the gateway's TCP receiver, by python-logstash-async.

    python log.py 127.0.0.1 7173
"""

import logging
import sys

from logstash_async.formatter import LogstashFormatter
from logstash_async.handler import AsynchronousLogstashHandler

host, port = sys.argv[1], int(sys.argv[2])
# A file as database_path keeps events over a restart of this program.
handler = AsynchronousLogstashHandler(host, port, database_path=None)
handler.setFormatter(LogstashFormatter(extra_prefix=None))
log = logging.getLogger("example")
log.setLevel(logging.INFO)
log.addHandler(handler)

for number in range(100):
    log.info("hello", extra={"seq": number})
logging.shutdown()
