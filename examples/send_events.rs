//! Sends single events to a gateway and tells what became of them.
//!
//! Start a gateway, then: `cargo run --example send_events -- http://127.0.0.1:7171`

use std::error::Error;

use stashgate::client::{Client, Gather, Outcome};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let to = std::env::args().nth(1);
    let to = to.as_deref().unwrap_or("http://127.0.0.1:7171");

    // Does not wait for the gateway: as long as it is away, events wait here.
    let client = Client::connect(to)?;

    // Single events become batches, by size and age. The closure hears what
    // became of each batch.
    let events = client.batcher(Gather::default(), tell);
    for number in 0..10_000 {
        // Waits while the window is full: let that slow you down.
        let event = format!(r#"{{"message":"hello","number":{number}}}"#);
        events.push(event.as_bytes()).await?;
    }
    // Not an object: rejected, while its batch goes on without it.
    events.push(b"[1, 2, 3]").await?;

    // From here on everything is durable at the gateway, or was told of.
    events.flush().await?;
    let report = client.close().await?;
    println!(
        "{} accepted, {} rejected, {} given back, {} batches sent again",
        report.accepted, report.rejected, report.failed, report.resent
    );
    Ok(())
}

/// Runs in the client's own task: keep it short.
fn tell(outcome: Outcome) {
    match outcome {
        Ok(receipt) => {
            for event in &receipt.rejected {
                let text = receipt.batch.event(event.index).unwrap_or_default();
                eprintln!(
                    "rejected: {}: {}",
                    event.detail,
                    String::from_utf8_lossy(text)
                );
            }
        }
        // `failed.batch` is the batch: keep it, and it can be sent later under
        // the id it has.
        Err(failed) => eprintln!("{} events given back: {failed}", failed.batch.events()),
    }
}
