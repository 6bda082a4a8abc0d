//! Lists in pages: `limit` and `cursor` in, `{"items", "next_cursor"}` out.
//!
//! A cursor says after which item to go on (keyset), so that a page costs the same however deep it lies, and
//! nothing is skipped or shown twice when rows come and go.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::problem::Problem;

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;

/// One page of a list.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// What asks for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of `limit` items out of one more than that, if there are; `key` is what the list goes on after.
    pub fn of(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| has_more).map(|last| URL_SAFE_NO_PAD.encode(key(last)));
        Self { items, next_cursor }
    }
}

/// How many items a page holds: what was asked for, if it is from 1 to 100, else 422.
pub fn limit(requested: Option<u32>) -> Result<u32, Problem> {
    match requested.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(Problem::unprocessable("invalid-limit", format!("`limit` goes from 1 to {MAX_LIMIT}."))),
    }
}

/// The key that a cursor holds, as `parse` understands it; 422 if it is no cursor of this list.
pub fn after<K>(cursor: Option<&str>, parse: impl Fn(&str) -> Option<K>) -> Result<Option<K>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let key = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match key.as_deref().and_then(parse) {
        Some(key) => Ok(Some(key)),
        None => Err(Problem::unprocessable("invalid-cursor", "`cursor` is not one that this list gave out.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_with_more_behind_it_has_a_cursor() {
        let page = Page::of(vec![1, 2, 3], 2, ToString::to_string);
        assert_eq!(page.items, [1, 2]);
        let key = after(page.next_cursor.as_deref(), |key| key.parse::<i32>().ok());
        assert_eq!(key.expect("a cursor of ours"), Some(2));
        assert_eq!(Page::of(vec![1, 2], 2, ToString::to_string).next_cursor, None);
    }

    #[test]
    fn limits_out_of_range_and_foreign_cursors_are_refused() {
        assert_eq!(limit(None).expect("the default"), 20);
        assert_eq!(limit(Some(100)).expect("the largest"), 100);
        assert!(limit(Some(0)).is_err());
        assert!(limit(Some(101)).is_err());
        for foreign in ["?", "", "YWJj", "_____w"] {
            assert!(after(Some(foreign), |key| key.parse::<i32>().ok()).is_err(), "{foreign:?}");
        }
    }
}
