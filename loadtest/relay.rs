//! The baselines: relays that pass bytes on. With `--file` every read is
//! appended to a file and `fdatasync`ed before it is passed on: the least that
//! anything durable has to do.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

/// `loadtest relay`
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// Where it passes bytes on to.
    #[arg(long)]
    to: SocketAddr,
    /// The file that holds every byte before it is passed on.
    #[arg(long)]
    file: Option<PathBuf>,
}

/// Bytes read at a time: a batch of 500 events of 300 bytes and a little.
const READ_BYTES: usize = 160 << 10;

/// Runs until it is stopped.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen)?;
    let file = options.file.as_ref().map(File::create).transpose()?;
    let file = Arc::new(file.map(Mutex::new));
    for connection in listener.incoming() {
        let (from, to, file) = (connection?, options.to, Arc::clone(&file));
        thread::spawn(move || pass_on(from, to, &file));
    }
    Ok(())
}

fn pass_on(mut from: TcpStream, to: SocketAddr, file: &Option<Mutex<File>>) -> std::io::Result<()> {
    let mut to = TcpStream::connect(to)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match from.read(&mut buffer[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        if filled == 0 {
            return Ok(());
        }
        if let Some(file) = file {
            let mut file = file.lock().expect("no holder panics");
            file.write_all(&buffer[..filled])?;
            file.sync_data()?;
        }
        to.write_all(&buffer[..filled])?;
    }
}
