use super::*;

const BOUNDS: Bounds = Bounds {
    lines: 4,
    bytes: 64,
    line: 32,
};

/// Feeds `pieces` as a connection would and gives all chunks.
fn chunks(bounds: Bounds, pieces: &[&[u8]]) -> Vec<Chunk> {
    let mut gather = Gather::new(bounds);
    let mut chunks = Vec::new();
    for piece in pieces {
        gather.buffer().extend_from_slice(piece);
        gather.received();
        while let Some(chunk) = gather.full() {
            chunks.push(chunk);
        }
    }
    while let Some(chunk) = gather.cut() {
        chunks.push(chunk);
    }
    chunks.extend(gather.last());
    chunks
}

/// All bytes of all chunks; an overlong line as its beginning and length.
fn text(chunks: &[Chunk]) -> String {
    let mut text = String::new();
    for chunk in chunks {
        match chunk {
            Chunk::Lines(lines) => text.push_str(&String::from_utf8_lossy(lines)),
            Chunk::Overlong { beginning, length } => {
                text.push_str(&format!("<{}:{length}>", beginning.len()));
            }
        }
    }
    text
}

#[test]
fn wherever_the_reads_fall_the_lines_are_the_same() {
    let long = "x".repeat(50);
    let longer = "y".repeat(200);
    let sent = format!("{{\"a\":1}}\n\n{{\"b\":2}}\r\n{long}\n{{\"c\":3}}\n{longer}\nlast");
    let expected = "{\"a\":1}\n\n{\"b\":2}\r\n<32:50>{\"c\":3}\n<32:200>last";
    for first in 0..sent.len() {
        for second in [first, first + 1, first + 40] {
            let second = second.min(sent.len());
            let bytes = sent.as_bytes();
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            // A line that came whole among others is left to the validation.
            let text = text(&chunks(BOUNDS, &pieces))
                .replace(&format!("{long}\n"), "<32:50>")
                .replace(&format!("{longer}\n"), "<32:200>");
            assert_eq!(text, expected, "{first} {second}");
        }
    }
}

#[test]
fn one_byte_at_a_time_gives_the_same_lines() {
    let sent = format!("{{}}\n{}\n{{}}\n{{\"a\":\"b\"}}", "z".repeat(100));
    let bytes: Vec<&[u8]> = sent.as_bytes().chunks(1).collect();
    assert_eq!(
        text(&chunks(BOUNDS, &bytes)),
        "{}\n<32:100>{}\n{\"a\":\"b\"}"
    );
}

#[test]
fn a_chunk_has_no_more_lines_and_bytes_than_it_may() {
    let sent = "{\"n\":1}\n".repeat(1000);
    let mut lines = 0;
    for chunk in chunks(BOUNDS, &[sent.as_bytes()]) {
        let Chunk::Lines(chunk) = chunk else {
            panic!("no line is too long")
        };
        assert!(chunk.len() <= BOUNDS.bytes && chunk.ends_with(b"\n"));
        let count = memchr_iter(b'\n', &chunk).count();
        assert!(count <= BOUNDS.lines);
        lines += count;
    }
    assert_eq!(lines, 1000);

    let long = "x".repeat(30);
    let sent = format!("{long}\n{long}\n{long}\n");
    let sizes: Vec<usize> = chunks(BOUNDS, &[sent.as_bytes()])
        .iter()
        .map(|chunk| text(std::slice::from_ref(chunk)).len())
        .collect();
    assert_eq!(sizes, [62, 31]);
}

#[test]
fn a_line_of_the_longest_length_is_not_cut() {
    for end in ["\n", "\r\n"] {
        let line = format!("{}{end}", "x".repeat(32));
        let bytes: Vec<&[u8]> = line.as_bytes().chunks(1).collect();
        assert_eq!(text(&chunks(BOUNDS, &bytes)), line);
    }
}

#[test]
fn an_endless_line_takes_no_endless_memory() {
    let mut gather = Gather::new(BOUNDS);
    for _ in 0..10_000 {
        gather.buffer().extend_from_slice(&[b'x'; 1000]);
        gather.received();
        assert_eq!(gather.full(), None);
        assert!(gather.buffer.capacity() < 64 << 10);
    }
    let Some(Chunk::Overlong { beginning, length }) = gather.last() else {
        panic!("the line is too long")
    };
    assert_eq!((beginning.len(), length), (32, 10_000_000));
}

#[test]
fn lines_before_an_overlong_one_come_first() {
    let sent = format!("{{}}\n{}", "x".repeat(40));
    let mut gather = Gather::new(BOUNDS);
    gather.buffer().extend_from_slice(sent.as_bytes());
    gather.received();
    assert_eq!(
        gather.full(),
        Some(Chunk::Lines(Bytes::from_static(b"{}\n")))
    );
    assert_eq!(gather.full(), None);
    assert!(matches!(
        gather.last(),
        Some(Chunk::Overlong { length: 40, .. })
    ));
}

#[test]
fn a_chunk_of_many_lines_takes_as_many_allocations_as_one_of_a_line() {
    let bounds = Bounds {
        lines: 500,
        bytes: 1 << 20,
        line: 1 << 16,
    };
    let allocations = |sent: &[u8]| {
        let counted = allocation_counter::measure(|| {
            let mut gather = Gather::new(bounds);
            gather.buffer().extend_from_slice(sent);
            gather.received();
            assert!(matches!(gather.cut(), Some(Chunk::Lines(_))));
        });
        counted.count_total
    };
    let line = format!("{{\"x\":\"{}\"}}\n", "x".repeat(3990));
    assert_eq!(
        allocations(&b"{\"a\":1}\n".repeat(400)),
        allocations(line.as_bytes())
    );
}
