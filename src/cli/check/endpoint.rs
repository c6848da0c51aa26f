//! Whether each Logstash answers as its output needs it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Finding;
use crate::config::{Config, Confirm, Output, Protocol, split_host};
use crate::tls;
use crate::wire::lumberjack;

const PATIENCE: Duration = Duration::from_secs(5);
/// How soon a server says that it does not take our certificate.
const REFUSAL: Duration = Duration::from_millis(300);

/// Every address of every queue.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, queue) in &config.queues {
        for host in queue.output.all_hosts() {
            let title = format!("queues.{name}.output: {host}");
            found.extend(check_host(&title, host, &queue.output).await);
        }
    }
    found
}

async fn check_host(title: &str, host: &str, output: &Output) -> Vec<Finding> {
    let addresses = match within(lookup_host(host)).await {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(error) => {
            return vec![Finding::Warning(format!(
                "{title}: the name cannot be resolved now: {error}; the gateway will wait for it"
            ))];
        }
    };
    let mut found = Vec::new();
    for address in addresses {
        found.push(check_address(&format!("{title} ({address})"), host, address, output).await);
    }
    found
}

async fn check_address(title: &str, host: &str, address: SocketAddr, output: &Output) -> Finding {
    let stream = match within(TcpStream::connect(address)).await {
        Ok(stream) => stream,
        Err(error) => {
            return Finding::Warning(format!(
                "{title}: does not answer now: {error}; the gateway will wait for it"
            ));
        }
    };
    if output.tls.enabled {
        return match within(handshake(stream, host, output)).await {
            Ok(()) => Finding::Good(format!("{title}: answers, and is trusted")),
            Err(error) => Finding::Bad(format!("{title}: no TLS: {error}")),
        };
    }
    if output.protocol == Protocol::Lumberjack {
        return judge_answer(title, within(answer_to_nothing(stream)).await);
    }
    if output.protocol == Protocol::Http {
        // Logstash makes an event of nearly everything it is asked.
        return Finding::Good(format!("{title}: answers; nothing was posted to it"));
    }
    if output.confirm == Confirm::Written {
        return Finding::Good(format!("{title}: answers"));
    }
    match within(closes(stream)).await {
        Ok(true) => Finding::Good(format!("{title}: answers, and closes after a half-close")),
        Ok(false) => Finding::Bad(format!(
            "{title}: answers a connection with data; Logstash's tcp input sends none: is this the right port?"
        )),
        Err(error) => Finding::Bad(format!(
            "{title}: does not close after a half-close ({error}); confirm = \"close\" cannot work with it"
        )),
    }
}

/// Whether it speaks TLS as the settings ask for. A server of TLS 1.3 says only after
/// the handshake that it wants another certificate of us, if it does so at once.
async fn handshake(stream: TcpStream, host: &str, output: &Output) -> io::Result<()> {
    let client = tls::Client::load(&output.tls).map_err(io::Error::other)?;
    let Some(client) = client else {
        return Ok(());
    };
    let name = client.name_of(split_host(host).map_or(host, |(host, _)| host));
    let name = name.map_err(io::Error::other)?;
    let connector = TlsConnector::from(client.config());
    let mut stream = connector.connect(name, stream).await?;
    match timeout(REFUSAL, stream.read(&mut [0; 1])).await {
        Ok(Err(refused)) => Err(refused),
        _ => Ok(()),
    }
}

/// What a beats input says to an empty window: Logstash acknowledges it with 0.
async fn answer_to_nothing(mut stream: TcpStream) -> io::Result<[u8; 6]> {
    stream.write_all(&lumberjack::window(0)).await?;
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn judge_answer(title: &str, answer: io::Result<[u8; 6]>) -> Finding {
    match answer {
        Ok(answer) if answer == lumberjack::ack(0) => Finding::Good(format!(
            "{title}: answers, and acknowledges an empty window"
        )),
        Ok(_) => Finding::Bad(format!(
            "{title}: its answer is no lumberjack version 2: is this the port of a beats input?"
        )),
        Err(error) => Finding::Warning(format!(
            "{title}: answers a connection, and does not acknowledge an empty window as Logstash's beats input does ({error}): is this its port, and does it speak TLS?"
        )),
    }
}

/// Whether an empty connection that we half-close is closed without a word.
async fn closes(mut stream: TcpStream) -> io::Result<bool> {
    stream.shutdown().await?;
    Ok(stream.read(&mut [0; 1]).await? == 0)
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer for 5 s")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn judge(answer: impl AsyncFnOnce(TcpStream) + 'static) -> Finding {
        judge_as(&Output::default(), answer).await
    }

    async fn judge_as(output: &Output, answer: impl AsyncFnOnce(TcpStream) + 'static) -> Finding {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let peer = async {
            let (stream, _) = listener.accept().await.expect("accepted");
            answer(stream).await;
        };
        tokio::join!(check_address("it", "it", address, output), peer).0
    }

    #[tokio::test]
    async fn a_peer_that_closes_after_a_half_close_is_good() {
        let finding = judge(async |mut stream| {
            assert_eq!(stream.read(&mut [0; 1]).await.expect("read"), 0);
        });
        assert!(matches!(finding.await, Finding::Good(_)));
    }

    #[tokio::test]
    async fn a_peer_that_speaks_first_is_bad() {
        let finding = judge(async |mut stream| {
            stream.write_all(b"220 smtp\r\n").await.expect("written");
        });
        assert!(matches!(finding.await, Finding::Bad(what) if what.contains("right port")));
    }

    async fn judge_beats(answer: &'static [u8]) -> Finding {
        let output = Output {
            protocol: Protocol::Lumberjack,
            ..Output::default()
        };
        judge_as(&output, async |mut stream| {
            let mut window = [0; 6];
            stream.read_exact(&mut window).await.expect("read");
            assert_eq!(window, lumberjack::window(0));
            stream.write_all(answer).await.expect("written");
        })
        .await
    }

    #[tokio::test]
    async fn a_beats_input_acknowledges_an_empty_window() {
        assert!(matches!(judge_beats(b"2A\0\0\0\0").await, Finding::Good(_)));
        let other = judge_beats(b"HTTP/1.1 400").await;
        assert!(matches!(other, Finding::Bad(what) if what.contains("beats input")));
        assert!(matches!(judge_beats(b"").await, Finding::Warning(_)));
    }

    #[tokio::test]
    async fn a_peer_that_is_not_there_is_only_a_warning() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let finding = check_address("it", "it", address, &Output::default()).await;
        assert!(matches!(finding, Finding::Warning(what) if what.contains("will wait")));
    }
}
