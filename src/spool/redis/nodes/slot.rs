//! Which of a cluster's 16384 slots a key is in.
//!
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>:
//! CRC16 (XMODEM) of the hash tag, which is what stands between the first `{` and
//! the next `}` if that is not empty, else of the whole key.

/// How many slots there are.
pub(super) const SLOTS: u16 = 16384;

/// The slot of `key`.
pub(super) fn of(key: &str) -> u16 {
    crc16(tag(key).unwrap_or(key).as_bytes()) % SLOTS
}

fn tag(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once('{')?;
    let (tag, _) = rest.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
    }

    #[test]
    fn a_list_and_the_keys_derived_from_it_share_a_slot() {
        for list in ["logstash", "logstash.0", "logstash.1", "q_-9"] {
            assert_eq!(of(list), of(&format!("{{{list}}}:ledger")));
            assert_eq!(of(list), of(&format!("{{{list}}}-2026/11/21")));
        }
    }

    #[test]
    fn an_empty_or_open_tag_is_none() {
        assert_eq!(of("a{}b"), crc16(b"a{}b") % SLOTS);
        assert_eq!(of("a{b"), crc16(b"a{b") % SLOTS);
        assert_eq!(of("{{b}}c"), crc16(b"{b") % SLOTS);
    }
}
