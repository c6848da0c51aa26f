//! `Content-Encoding`: decompresses no more than a batch may have.

use std::io::{self, Read};

use axum::http::{HeaderMap, header};
use bytes::Bytes;

use crate::event::BlockError;
use crate::receiver::reply::Refusal;

/// Largest zstd window, as a power of two: the 8 MiB that RFC 9659 asks of HTTP.
pub(super) const ZSTD_WINDOW_LOG: u32 = 23;

/// A compression that bodies may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Zstd,
}

/// The body's compression, if it has one.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, Refusal> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(None);
    };
    let name = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    match name.trim() {
        "" | "identity" => Ok(None),
        "gzip" | "x-gzip" => Ok(Some(Encoding::Gzip)),
        "zstd" => Ok(Some(Encoding::Zstd)),
        other => Err(Refusal::UnsupportedEncoding(other.to_owned())),
    }
}

/// Decompresses `body`, which may become `limit` bytes.
pub(super) fn decode(encoding: Encoding, body: &[u8], limit: usize) -> Result<Bytes, Refusal> {
    let decoded = match encoding {
        Encoding::Gzip => bounded(flate2::read::MultiGzDecoder::new(body), limit),
        Encoding::Zstd => zstd(body).and_then(|decoder| bounded(decoder, limit)),
    };
    let decoded = decoded.map_err(|error| Refusal::Undecodable(error.to_string()))?;
    if decoded.len() > limit {
        return Err(Refusal::Block(BlockError::TooManyBytes { limit }));
    }
    Ok(Bytes::from(decoded))
}

fn zstd(body: &[u8]) -> io::Result<zstd::stream::read::Decoder<'static, &[u8]>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

/// Reads to the end, or one byte beyond the limit.
fn bounded(decoder: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    decoder
        .take(limit as u64 + 1)
        .read_to_end(&mut decoded)
        .map(|_| decoded)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("compresses");
        encoder.finish().expect("compresses")
    }

    #[test]
    fn a_body_cut_short_is_not_taken_for_a_whole_one() {
        let text = b"{\"a\":1}\n".repeat(50);
        let zstd = zstd::encode_all(&text[..], 1).expect("compresses");
        for (encoding, whole) in [(Encoding::Gzip, gzip(&text)), (Encoding::Zstd, zstd)] {
            assert_eq!(decode(encoding, &whole, 1 << 10).expect("whole"), text);
            for cut in 1..whole.len() {
                let decoded = decode(encoding, &whole[..cut], 1 << 10);
                assert!(decoded.is_err(), "{encoding:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
        let text = [b'x'; 1000];
        let zstd = zstd::encode_all(&text[..], 1).expect("compresses");
        for (encoding, body) in [(Encoding::Gzip, gzip(&text)), (Encoding::Zstd, zstd)] {
            assert_eq!(decode(encoding, &body, 1000).expect("fits").len(), 1000);
            let refusal = decode(encoding, &body, 999).expect_err("too large");
            assert_eq!(
                refusal,
                Refusal::Block(BlockError::TooManyBytes { limit: 999 })
            );
        }
    }

    #[test]
    fn several_gzip_members_are_one_body() {
        let body = [gzip(b"{\"a\":1}\n"), gzip(b"{\"a\":2}\n")].concat();
        let decoded = decode(Encoding::Gzip, &body, 100).expect("decodes");
        assert_eq!(decoded, "{\"a\":1}\n{\"a\":2}\n");
    }

    #[test]
    fn a_zstd_window_beyond_what_http_allows_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("encoder");
        encoder.window_log(24).expect("valid");
        encoder.write_all(&[b'x'; 100]).expect("compresses");
        let body = encoder.finish().expect("compresses");
        assert!(matches!(
            decode(Encoding::Zstd, &body, 1000),
            Err(Refusal::Undecodable(_))
        ));
    }

    #[test]
    fn a_bomb_takes_no_more_memory_than_a_batch_may() {
        let limit = 1 << 20;
        let zeros = vec![0; 64 << 20];
        let zstd = zstd::encode_all(&zeros[..], 1).expect("compresses");
        for (encoding, bomb) in [(Encoding::Gzip, gzip(&zeros)), (Encoding::Zstd, zstd)] {
            let counted = allocation_counter::measure(|| {
                assert!(decode(encoding, &bomb, limit).is_err());
            });
            // A buffer that grows is there twice for a moment.
            let bound = 4 * limit as u64;
            assert!(counted.bytes_max < bound, "{encoding:?}: {counted:?}");
        }
    }
}
