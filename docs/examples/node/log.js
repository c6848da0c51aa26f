// winston to the gateway's TCP receiver, by winston-logstash.
//
//	node log.js 127.0.0.1 7173

const winston = require("winston");
const LogstashTransport = require("winston-logstash/lib/winston-logstash-latest");

const [host, port] = process.argv.slice(2);
const transport = new LogstashTransport({
  host,
  port: Number(port),
  node_name: "example",
  // Tries for ever; its default is to give up after a few times.
  max_connect_retries: -1,
});
// Without a listener an error ends the program.
transport.on("error", (error) => console.error(error.message));
const log = winston.createLogger({ transports: [transport] });

let seq = 0;
const timer = setInterval(() => {
  log.info("hello", { seq: seq++ });
  if (seq === 100) {
    clearInterval(timer);
    // A service goes on for ever. This one gives the transport time to send:
    // closing it does not wait.
    setTimeout(() => transport.close(), 1000);
  }
}, 1);
