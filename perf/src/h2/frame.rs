//! Frames as they are sent (RFC 9113, sections 4 and 6).

/// What a client says first (section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest payload that a peer accepts unless it says otherwise.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 16_384;

/// Frame types.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags; the first means an acknowledgement in SETTINGS and PING.
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Settings' identifiers.
pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;

/// The error code with which a client gives up a request.
pub(crate) const CANCEL: u32 = 8;

/// Appends a frame: length (24 bits), type, flags, stream (31 bits), payload.
pub(crate) fn push(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a payload of less than 16 MiB");
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.push(kind);
    out.push(flags);
    out.extend_from_slice(&(stream & 0x7fff_ffff).to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends a SETTINGS frame.
pub(crate) fn push_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let mut payload = Vec::with_capacity(settings.len() * 6);
    for (identifier, value) in settings {
        payload.extend_from_slice(&identifier.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    push(out, SETTINGS, 0, 0, &payload);
}

/// Appends a header block: HEADERS and as many CONTINUATION frames as it takes.
pub(crate) fn push_headers(out: &mut Vec<u8>, flags: u8, stream: u32, block: &[u8]) {
    let mut parts = block.chunks(MAX_PAYLOAD_BYTES).peekable();
    let mut kind = HEADERS;
    let mut flags = flags & END_STREAM;
    while let Some(part) = parts.next() {
        let end = if parts.peek().is_none() { END_HEADERS } else { 0 };
        push(out, kind, flags | end, stream, part);
        (kind, flags) = (CONTINUATION, 0);
    }
}

/// The name of an error code (section 7).
pub(crate) fn error_name(code: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied().unwrap_or("an unknown code")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_laid_out_as_section_4_1_says() {
        let mut out = Vec::new();
        push(&mut out, RST_STREAM, 0, 5, &CANCEL.to_be_bytes());
        assert_eq!(out, [0, 0, 4, 3, 0, 0, 0, 0, 5, 0, 0, 0, 8]);
    }

    #[test]
    fn settings_are_pairs_of_16_and_32_bits() {
        let mut out = Vec::new();
        push_settings(&mut out, &[(INITIAL_WINDOW_SIZE, 0), (HEADER_TABLE_SIZE, 256)]);
        assert_eq!(out, [0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn a_long_header_block_goes_on_in_continuations() {
        let mut out = Vec::new();
        push_headers(&mut out, END_STREAM, 1, &vec![0x82; MAX_PAYLOAD_BYTES + 1]);
        assert_eq!(out[..9], [0, 0x40, 0, HEADERS, END_STREAM, 0, 0, 0, 1]);
        let second = &out[9 + MAX_PAYLOAD_BYTES..];
        assert_eq!(second, [0, 0, 1, CONTINUATION, END_HEADERS, 0, 0, 0, 1, 0x82]);
    }

    #[test]
    fn codes_have_their_names() {
        assert_eq!(error_name(11), "ENHANCE_YOUR_CALM");
        assert_eq!(error_name(99), "an unknown code");
    }
}
