// Logs through winston-logstash: log.js HOST PORT
//
// A line of standard input, `FIRST COUNT`, is so many events to log, numbered from
// FIRST. Each time that the transport finds no gateway, standard error says so.
// When standard input ends, the transport is closed; that does not wait.

const readline = require("readline");
const winston = require("winston");
const LogstashTransport = require("winston-logstash/lib/winston-logstash-latest");

const [host, port] = process.argv.slice(2);
// Tries for ever; its default is to give up after a few times.
const transport = new LogstashTransport({ host, port: Number(port), max_connect_retries: -1 });
transport.manager.on("retrying", () => console.error("An error occurred"));
const log = winston.createLogger({ transports: [transport] });

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const [first, count] = line.split(" ").map(Number);
  for (let seq = first; seq < first + count; seq++) log.info("naïve – " + "x".repeat(200), { seq });
});
lines.on("close", () => transport.close());
