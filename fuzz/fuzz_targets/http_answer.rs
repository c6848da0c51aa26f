//! Any bytes as the answer of an HTTP server: in pieces they say the same as at once.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stashgate::wire::http::{Head, MAX_HEAD};

fuzz_target!(|data: &[u8]| {
    let at_once = Head::read(data);
    let whole = match &at_once {
        Ok(Some(head)) => head,
        Ok(None) => return assert!(data.len() < MAX_HEAD),
        Err(_) => return,
    };
    assert!(whole.len <= data.len() && whole.len <= MAX_HEAD);
    assert!(whole.reason.len() <= 100 && whole.reason.is_ascii());
    assert!((100..1000).contains(&whole.status));
    for len in 0..whole.len {
        assert_eq!(Head::read(&data[..len]), Ok(None), "{len} bytes");
    }
    assert_eq!(Head::read(&data[..whole.len]), at_once);
});
