//! Reads lines from a file or standard input, on a thread of its own, so that
//! input that does not come holds nothing else up.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use flate2::bufread::MultiGzDecoder;
use memchr::{memchr, memrchr};
use tokio::sync::mpsc;

/// The longest line that is sent. A gateway takes no batch above 8 MiB unless
/// configured otherwise, so that a longer line would only be refused there.
pub(super) const LONGEST_LINE: usize = 8 << 20;

const READ: usize = 256 << 10;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Something that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Whole lines; only the very last one may lack its `\n`.
    Lines(Vec<u8>),
    /// In the place of a line above [`LONGEST_LINE`].
    TooLong,
}

/// An open input.
pub(super) struct Input {
    reader: Box<dyn Read + Send>,
    /// Bytes of the file that were read, before decompression.
    pub(super) position: Arc<AtomicU64>,
    /// Bytes of the file, if it is one.
    pub(super) length: Option<u64>,
}

impl Input {
    /// Opens `path`, or standard input for `-`; decompresses what begins as
    /// gzip does.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Self::new(io::stdin(), None);
        }
        let file = File::open(path)?;
        let about = file.metadata()?;
        if about.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Self::new(file, about.is_file().then_some(about.len()))
    }

    fn new(source: impl Read + Send + 'static, length: Option<u64>) -> io::Result<Self> {
        let position = Arc::new(AtomicU64::new(0));
        let counted = Counted(source, Arc::clone(&position));
        let mut start = BufReader::with_capacity(READ, counted);
        let mut magic = Vec::new();
        start.by_ref().take(2).read_to_end(&mut magic)?;
        let whole = io::Cursor::new(magic.clone()).chain(start);
        let reader: Box<dyn Read + Send> = if magic == GZIP_MAGIC {
            Box::new(MultiGzDecoder::new(whole))
        } else {
            Box::new(whole)
        };
        Ok(Self {
            reader,
            position,
            length,
        })
    }

    /// Starts to read. The last thing heard is an error, if there is one.
    pub(super) fn start(self) -> mpsc::Receiver<io::Result<Piece>> {
        // A few pieces ahead of the sender.
        let (to, pieces) = mpsc::channel(4);
        thread::spawn(move || {
            let taken = |piece| to.blocking_send(Ok(piece)).is_ok();
            if let Err(error) = read_pieces(self.reader, taken) {
                let _ = to.blocking_send(Err(error));
            }
        });
        pieces
    }
}

/// Gives whole lines on, until the end or until nobody takes them.
fn read_pieces(mut from: impl Read, mut taken: impl FnMut(Piece) -> bool) -> io::Result<()> {
    let mut open = Vec::new();
    loop {
        if open.len() > LONGEST_LINE {
            open = skip_line(&mut from)?;
            if !taken(Piece::TooLong) {
                return Ok(());
            }
            // What came with the line's end may hold whole lines already.
            if memrchr(b'\n', &open).is_none() {
                continue;
            }
        }
        let filled = open.len();
        open.resize(filled + READ, 0);
        let read = read_some(&mut from, &mut open[filled..])?;
        open.truncate(filled + read);
        let whole = match memrchr(b'\n', &open) {
            _ if read == 0 => open.len(),
            Some(newline) => newline + 1,
            None => continue,
        };
        let rest = open.split_off(whole);
        if !open.is_empty() && !taken(Piece::Lines(open)) || read == 0 {
            return Ok(());
        }
        open = rest;
    }
}

/// Reads on to the end of the line; returns what was read beyond it.
fn skip_line(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; READ];
    loop {
        let read = read_some(from, &mut buffer)?;
        let end = memchr(b'\n', &buffer[..read]);
        if let Some(newline) = end {
            return Ok(buffer[newline + 1..read].to_vec());
        }
        if read == 0 {
            return Ok(Vec::new());
        }
    }
}

fn read_some(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Counts what passes.
struct Counted<R>(R, Arc<AtomicU64>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.fetch_add(read as u64, Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(input: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        read_pieces(input, |piece| {
            pieces.push(piece);
            true
        })
        .expect("no error");
        pieces
    }

    #[test]
    fn a_last_line_without_its_end_is_read() {
        let read = pieces(b"{}\n{\"a\":1}");
        let lines = |text: &[u8]| Piece::Lines(text.to_vec());
        assert_eq!(read, [lines(b"{}\n"), lines(b"{\"a\":1}")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_is_whole() {
        let mut input = b"{\"a\":1}\n".to_vec();
        input.extend(std::iter::repeat_n(b'x', LONGEST_LINE + 3 * READ));
        input.extend(b"\n{\"a\":2}\n{\"a\":3}");
        let read = pieces(&input);
        let too_long = read.iter().filter(|p| **p == Piece::TooLong).count();
        let lines: Vec<u8> = read
            .into_iter()
            .flat_map(|piece| match piece {
                Piece::Lines(lines) => lines,
                Piece::TooLong => b"(too long)\n".to_vec(),
            })
            .collect();
        assert_eq!(too_long, 1);
        assert_eq!(lines, b"{\"a\":1}\n(too long)\n{\"a\":2}\n{\"a\":3}");
    }

    #[test]
    fn a_line_that_is_too_long_may_be_the_last() {
        let input = vec![b'x'; LONGEST_LINE + READ];
        assert_eq!(pieces(&input), [Piece::TooLong]);
    }
}
