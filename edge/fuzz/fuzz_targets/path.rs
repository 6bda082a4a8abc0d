//! One canonical form of a path: the same under a slow, independent reading of RFC 3986, and what is forwarded is it.

#![no_main]

use std::borrow::Cow;

use edge::path::{PathError, canonicalise};
use edge::target::{is_canonical, raw_path, with_path};
use http::Version;
use http::uri::PathAndQuery;
use libfuzzer_sys::fuzz_target;
use pingora::http::RequestHeader;

const UNRESERVED: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
const OTHERS: &str = "/:@!$&'()*+,=";

fuzz_target!(|text: &str| {
    let canonical = canonicalise(text);
    assert_eq!(
        canonical.as_deref().map_err(Clone::clone),
        by_the_book(text).as_deref().map_err(Clone::clone)
    );
    if let Ok(canonical) = &canonical {
        has_one_meaning(canonical);
        assert_eq!(canonicalise(canonical), Ok(canonical.clone()), "canonical twice");
        assert!(!matches!(canonical, Cow::Borrowed(same) if *same != text));
        let respelt = respell(canonical, text.as_bytes());
        if respelt.len() <= 4096 {
            assert_eq!(canonicalise(&respelt).as_deref(), Ok(&**canonical), "{respelt:?}");
        }
    }
    let quoted = text.replace('%', "%25");
    if let Ok(once) = canonicalise(&quoted) {
        assert!(once.split('%').skip(1).all(|rest| rest.starts_with("25")), "decoded twice: {once}");
    }
    is_forwarded_as_it_was_matched(text);
});

/// No escape of what needs none, no byte outside the allowed, no segment that is a detour.
fn has_one_meaning(path: &str) {
    let segments: Vec<&str> = path.strip_prefix('/').expect("absolute").split('/').collect();
    let (last, inner) = segments.split_last().expect("a split has a part");
    assert!(inner.iter().all(|segment| !matches!(*segment, "" | "." | "..")), "{path}");
    assert!(!matches!(*last, "." | ".."), "{path}");
    let mut parts = path.split('%');
    let is_plain = |text: &str| text.chars().all(|c| UNRESERVED.contains(c) || OTHERS.contains(c));
    assert!(parts.next().is_some_and(is_plain), "{path}");
    for part in parts {
        let (digits, rest) = part.split_at(2);
        assert!(digits.chars().all(|digit| "0123456789ABCDEF".contains(digit)), "{path}");
        let byte = u8::from_str_radix(digits, 16).expect("two digits");
        assert!(!byte.is_ascii_control() && !matches!(byte, b'/' | b'\\'), "{path}");
        assert!(!UNRESERVED.contains(char::from(byte)), "{path}");
        assert!(is_plain(rest), "{path}");
    }
    assert_eq!(path.parse::<PathAndQuery>().expect("a path of a URI").as_str(), path);
}

/// The rules one after the other, each applied to the whole text until it changes nothing.
fn by_the_book(raw: &str) -> Result<String, PathError> {
    if raw.len() > 4096 {
        return Err(PathError::TooLong);
    }
    if !raw.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if !raw.chars().all(|c| UNRESERVED.contains(c) || OTHERS.contains(c) || c == '%') {
        return Err(PathError::IllegalByte);
    }
    let mut path = String::new();
    for (index, part) in raw.split('%').enumerate() {
        if index == 0 {
            path.push_str(part);
            continue;
        }
        let digits = part.get(..2).filter(|two| two.chars().all(|digit| digit.is_ascii_hexdigit()));
        let digits = digits.ok_or(PathError::BrokenEncoding)?.to_ascii_uppercase();
        match char::from(u8::from_str_radix(&digits, 16).expect("two digits")) {
            '/' | '\\' | '\0'..='\x1f' | '\x7f' => return Err(PathError::HiddenByte),
            plain if UNRESERVED.contains(plain) => path.push(plain),
            _ => path.extend(["%", &digits]),
        }
        path.push_str(&part[2..]);
    }
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    while path.contains("/./") {
        path = path.replace("/./", "/");
    }
    if let Some(folder) = path.strip_suffix("/.") {
        path = format!("{folder}/");
    }
    // The way up is taken from the left: what is before it has no other any more.
    path.push('/');
    while let Some(up) = path.find("/../") {
        let parent = path[..up].rfind('/').unwrap_or(0);
        // What `..` leads to is a folder, also at the end.
        let rest = match &path[up + 3..] {
            "/" => "//".to_owned(),
            more => more.to_owned(),
        };
        path = format!("{}{rest}", &path[..parent]);
    }
    path.pop();
    Ok(path)
}

/// The same path in another spelling: detours at the slashes, escapes in place of letters. `choices` says which.
fn respell(path: &str, choices: &[u8]) -> String {
    let mut spelling = String::new();
    let mut choices = choices.iter().rev().cycle();
    let mut after_percent = 0;
    for character in path.chars() {
        let choice = choices.next().copied().unwrap_or(0);
        match character {
            '/' => {
                spelling.push_str(["/", "//", "/./", "/x/../", "/%2E/", "/y/%2e./"][usize::from(choice) % 6])
            }
            '%' => {
                spelling.push('%');
                after_percent = 2;
                continue;
            }
            digit if after_percent > 0 && choice % 2 == 0 => spelling.push(digit.to_ascii_lowercase()),
            digit if after_percent > 0 => spelling.push(digit),
            plain if choice % 3 == 0 && UNRESERVED.contains(plain) => {
                spelling.push_str(&format!("%{:02x}", u32::from(plain)))
            }
            plain => spelling.push(plain),
        }
        after_percent -= i32::from(after_percent > 0);
    }
    spelling
}

/// As a request's target: what is sent on begins with the path that routes and guards were asked about.
fn is_forwarded_as_it_was_matched(target: &str) {
    // The front door lets nothing else pass.
    if target.is_empty() || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return;
    }
    let Ok(mut request) = RequestHeader::build("GET", target.as_bytes(), None) else { return };
    let Ok(Ok(matched)) = raw_path(&request).map(|path| canonicalise(path).map(Cow::into_owned)) else {
        return;
    };
    if !is_canonical(&request, &matched) {
        let uri = with_path(&request.uri, &matched, Version::HTTP_11).expect("a URI");
        assert_eq!((uri.path(), uri.query()), (&*matched, request.uri.query()));
        request.set_uri(uri);
    }
    let sent = std::str::from_utf8(request.raw_path()).expect("ASCII");
    assert_eq!(sent.split('?').next(), Some(&*matched), "{target}");
}
