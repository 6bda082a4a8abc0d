//! HPACK (RFC 7541): header blocks without Huffman coding, and the status out of an answer's.

/// Numbers of the static table (appendix A).
const AUTHORITY: u64 = 1;
const METHOD_GET: u64 = 2;
const METHOD_POST: u64 = 3;
const PATH: u64 = 4;
const SCHEME_HTTPS: u64 = 7;
const STATUSES: [(u8, u16); 7] = [(8, 200), (9, 204), (10, 206), (11, 304), (12, 400), (13, 404), (14, 500)];

/// The first entry that the dynamic table holds, that is the one added last.
pub(crate) const NEWEST: u64 = 62;

/// A request's method, of those that the static table has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Method {
    Get,
    Post,
}

/// A request's pseudo-headers.
pub(crate) fn request(method: Method, authority: &str, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    let method = match method {
        Method::Get => METHOD_GET,
        Method::Post => METHOD_POST,
    };
    push_indexed(&mut block, method);
    push_indexed(&mut block, SCHEME_HTTPS);
    for (name, value) in [(AUTHORITY, authority), (PATH, path)] {
        push_integer(&mut block, 0x00, 4, name);
        push_text(&mut block, value);
    }
    block
}

/// Appends a field that the tables hold; one byte for the first 126 (section 6.1).
pub(crate) fn push_indexed(block: &mut Vec<u8>, index: u64) {
    push_integer(block, 0x80, 7, index);
}

/// Appends a field that the receiver forgets (section 6.2.2).
pub(crate) fn push_literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0x00);
    push_text(block, name);
    push_text(block, value);
}

/// Appends a field that the receiver puts into its dynamic table (section 6.2.1).
pub(crate) fn push_remembered(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0x40);
    push_text(block, name);
    push_text(block, value);
}

/// Section 5.2, without Huffman coding.
fn push_text(block: &mut Vec<u8>, text: &str) {
    push_integer(block, 0x00, 7, text.len() as u64);
    block.extend_from_slice(text.as_bytes());
}

/// Section 5.1: a number behind the first bits of a byte.
fn push_integer(block: &mut Vec<u8>, first_bits: u8, prefix_bits: u32, value: u64) {
    let most = (1_u64 << prefix_bits) - 1;
    let low = |value: u64| u8::try_from(value & 0xff).expect("eight bits");
    if value < most {
        block.push(first_bits | low(value));
        return;
    }
    block.push(first_bits | low(most));
    let mut rest = value - most;
    while rest >= 128 {
        block.push(low(rest % 128) | 128);
        rest /= 128;
    }
    block.push(low(rest));
}

/// The status that a block begins with. Servers that were told to keep no table send it as a static entry or as three
/// digits, plain or Huffman-coded.
pub(crate) fn status(block: &[u8]) -> Option<u16> {
    let (&first, rest) = block.split_first()?;
    match first {
        // The size of the dynamic table changes.
        0x20..=0x3f => status(rest),
        0x80.. => STATUSES.iter().find(|(index, _)| *index == first & 0x7f).map(|&(_, status)| status),
        _ if (8..=14).contains(&(first & 0x0f)) || (8..=14).contains(&(first & 0x3f)) => {
            let (&length, value) = rest.split_first()?;
            let value = value.get(..usize::from(length & 0x7f))?;
            if length & 0x80 == 0 { std::str::from_utf8(value).ok()?.parse().ok() } else { digits(value) }
        }
        _ => None,
    }
}

/// Three Huffman-coded digits: `0` to `2` have five bits, `3` to `9` six, from 0x19 on (appendix B).
fn digits(value: &[u8]) -> Option<u16> {
    let mut bits = value.iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)));
    let mut number = 0;
    for _ in 0..3 {
        let mut code = 0;
        for _ in 0..5 {
            code = code << 1 | bits.next()?;
        }
        let digit = if code <= 2 { code } else { (code << 1 | bits.next()?).checked_sub(0x19)? + 3 };
        if digit > 9 {
            return None;
        }
        number = number * 10 + digit;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_those_of_appendix_c_1() {
        let encode = |prefix, value| {
            let mut block = Vec::new();
            push_integer(&mut block, 0, prefix, value);
            block
        };
        assert_eq!(encode(5, 10), [10]);
        assert_eq!(encode(5, 1337), [31, 154, 10]);
        assert_eq!(encode(8, 42), [42]);
    }

    #[test]
    fn fields_are_those_of_appendix_c_2() {
        let mut block = Vec::new();
        push_remembered(&mut block, "custom-key", "custom-header");
        assert_eq!(block, b"\x40\x0acustom-key\x0dcustom-header");
        block.clear();
        push_literal(&mut block, "password", "secret");
        assert_eq!(block, b"\x00\x08password\x06secret");
        block.clear();
        push_indexed(&mut block, NEWEST);
        assert_eq!(block, [0xbe]);
    }

    #[test]
    fn a_request_begins_with_its_pseudo_headers() {
        assert_eq!(request(Method::Get, "a", "/x"), b"\x82\x87\x01\x01a\x04\x02/x");
        assert_eq!(request(Method::Post, "a", "/")[0], 0x83);
    }

    #[test]
    fn a_status_is_read_in_each_of_its_forms() {
        assert_eq!(status(&[0x88]), Some(200));
        assert_eq!(status(&[0x20, 0x8c]), Some(400));
        assert_eq!(status(b"\x08\x03429"), Some(429));
        // Appendix C.6.1: 302, Huffman-coded.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
        assert_eq!(status(&[0xbe]), None);
        assert_eq!(status(&[]), None);
    }

    #[test]
    fn a_cut_status_is_none() {
        assert_eq!(status(&[0x48, 0x82, 0x64]), None);
        assert_eq!(status(&[0x48, 0x81, 0x64]), None);
    }
}
