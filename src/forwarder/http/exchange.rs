//! One request: written, and waited for.

use tokio::time::{Instant, sleep_until, timeout};

use super::Timing;
use crate::forwarder::connection::Connection;
use crate::forwarder::outcome::Unknown;
use crate::wire::http::Head;

/// The longest body that is read so that its connection can serve again.
const MOST_BODY: u64 = 64 << 10;

/// Writes `request` and reads until the head of an answer is there. What came
/// behind it is left in `answer`.
pub(super) async fn ask(
    connection: &Connection,
    mut request: &[u8],
    answer: &mut Vec<u8>,
    timing: &Timing,
) -> Result<Head, Unknown> {
    answer.clear();
    let mut buffer = [0; 4096];
    let mut sent = false;
    let mut sign = Instant::now();
    loop {
        tokio::select! {
            biased;
            read = connection.read(&mut buffer) => {
                match read.map_err(Unknown::Reset)? {
                    0 => return Err(Unknown::NoAnswer),
                    read => answer.extend_from_slice(&buffer[..read]),
                }
                if let Some(head) = final_head(answer)? {
                    return match sent || !head.is_success() {
                        true => Ok(head),
                        false => Err(Unknown::Protocol(format!("it answered {head} to half a request"))),
                    };
                }
            }
            written = connection.write(request), if !sent => {
                let written = written.map_err(Unknown::Reset)?;
                request = &request[written..];
                // From here on an answer may come at any time.
                sent = request.is_empty() && !connection.holds_some();
            }
            () = sleep_until(sign + timing.answer) => return Err(Unknown::Silent(timing.answer)),
        }
        sign = Instant::now();
    }
}

/// The head in `answer`, and what comes behind it; heads that only say that
/// another one comes are taken out.
fn final_head(answer: &mut Vec<u8>) -> Result<Option<Head>, Unknown> {
    while let Some(head) = read_head(answer)? {
        answer.drain(..head.len);
        if !head.is_interim() {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

fn read_head(answer: &[u8]) -> Result<Option<Head>, Unknown> {
    Head::read(answer).map_err(|error| Unknown::Protocol(error.to_string()))
}

/// Reads the body behind `head`, of which `answer` has the beginning; whether the
/// connection can serve another request.
pub(super) async fn read_body(
    connection: &Connection,
    head: &Head,
    answer: &[u8],
    timing: &Timing,
) -> bool {
    let missing = |body: u64| body.checked_sub(answer.len() as u64);
    let body = head.body.filter(|body| head.keeps && *body <= MOST_BODY);
    let Some(mut missing) = body.and_then(missing) else {
        return false;
    };
    let mut buffer = [0; 1024];
    let whole = async {
        while missing > 0 {
            let most = missing.min(buffer.len() as u64) as usize;
            match connection.read(&mut buffer[..most]).await {
                Ok(0) | Err(_) => return false,
                Ok(read) => missing -= read as u64,
            }
        }
        true
    };
    timeout(timing.body, whole).await.unwrap_or(false)
}
