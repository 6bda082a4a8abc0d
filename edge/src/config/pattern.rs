//! Path patterns: which paths a route speaks for, and which of two patterns is the narrower.

use std::cmp::Ordering;
use std::fmt;

/// Paths that a route matches. Segments are whole: `/admin` is not a prefix of `/administrator`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<Segment>,
    extent: Extent,
}

/// How far a pattern reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The path itself and everything below it.
    Below,
    /// This path only.
    Exact,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// `{name}` or `{name}.suffix`: any segment that ends with the suffix and has something before it.
    Parameter {
        name: String,
        suffix: String,
    },
}

/// A segment of a pattern, for those that walk it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// This text.
    Literal(&'a str),
    /// Any text that ends with this suffix and has something before it.
    Parameter {
        /// Often empty.
        suffix: &'a str,
    },
}

/// Why a pattern can't be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// A pattern starts with a slash.
    #[error("a path starts with `/`")]
    NoLeadingSlash,
    /// A pattern is written in canonical form: without empty or dot segments.
    #[error("empty, `.` and `..` segments never match a canonical path")]
    NotCanonical,
    /// A brace is left open, or stands elsewhere than at the start of a segment.
    #[error("a parameter is written {{name}}, at the start of a segment")]
    BadParameter,
}

impl Pattern {
    /// Reads a pattern such as `/api/calendar/{secret}.ics`.
    pub fn parse(text: &str, extent: Extent) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or(PatternError::NoLeadingSlash)?;
        let segments = if rest.is_empty() {
            Vec::new()
        } else {
            rest.split('/').map(Segment::parse).collect::<Result<_, _>>()?
        };
        Ok(Self { segments, extent })
    }

    /// Its segments, from the first.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => Part::Literal(text),
            Segment::Parameter { suffix, .. } => Part::Parameter { suffix },
        })
    }

    /// How far it reaches.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// What a path that it matches has below the pattern's own: nothing, or a text that starts with a slash.
    pub fn rest_of<'a>(&self, path: &'a str) -> &'a str {
        path.match_indices('/').nth(self.segments.len()).map_or("", |(at, _)| &path[at..])
    }

    /// Whether the pattern speaks for this canonical path.
    pub fn matches(&self, path: &str) -> bool {
        self.begins(path)
            && (self.extent == Extent::Below || segments_of(path).count() == self.segments.len())
    }

    /// Whether the pattern, or a path of it and something below, is this path.
    pub fn begins(&self, path: &str) -> bool {
        let mut segments = segments_of(path);
        self.segments.iter().all(|expected| segments.next().is_some_and(|segment| expected.matches(segment)))
    }

    /// Whether every path that `other` matches is matched by this pattern too.
    pub fn covers(&self, other: &Self) -> bool {
        let reaches = match (self.extent, other.extent) {
            (Extent::Below, _) => self.segments.len() <= other.segments.len(),
            (Extent::Exact, Extent::Exact) => self.segments.len() == other.segments.len(),
            (Extent::Exact, Extent::Below) => false,
        };
        reaches && self.segments.iter().zip(&other.segments).all(|(mine, theirs)| mine.covers(theirs))
    }

    /// Whether some path is matched by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let reaches = |a: &Self, b: &Self| a.extent == Extent::Below || a.segments.len() >= b.segments.len();
        reaches(self, other)
            && reaches(other, self)
            && self.segments.iter().zip(&other.segments).all(|(a, b)| a.overlaps(b))
    }

    /// Narrower patterns first. Where one pattern covers another, the covered one comes first.
    pub fn by_specificity(&self, other: &Self) -> Ordering {
        let key = |p: &Self| {
            let parameters = p.segments.iter().filter(|s| matches!(s, Segment::Parameter { .. })).count();
            let suffixes: usize = p.segments.iter().map(Segment::suffix_len).sum();
            (usize::MAX - p.segments.len(), p.extent == Extent::Below, parameters, usize::MAX - suffixes)
        };
        key(self).cmp(&key(other))
    }

    /// Whether a segment of the path is a secret (a parameter named `secret`), to be kept out of logs.
    pub fn has_secret(&self) -> bool {
        self.segments.iter().any(|s| matches!(s, Segment::Parameter { name, .. } if name == "secret"))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Parameter { name, suffix } => write!(f, "/{{{name}}}{suffix}")?,
            }
        }
        match (self.extent, self.segments.is_empty()) {
            (Extent::Below, _) => f.write_str("/**"),
            (Extent::Exact, true) => f.write_str("/"),
            (Extent::Exact, false) => Ok(()),
        }
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, PatternError> {
        if matches!(text, "" | "." | "..") {
            return Err(PatternError::NotCanonical);
        }
        let Some(rest) = text.strip_prefix('{') else {
            let braces = text.contains(['{', '}']);
            return if braces { Err(PatternError::BadParameter) } else { Ok(Self::Literal(text.to_owned())) };
        };
        let (name, suffix) = rest.split_once('}').ok_or(PatternError::BadParameter)?;
        if name.is_empty() || name.contains('{') || suffix.contains(['{', '}']) {
            return Err(PatternError::BadParameter);
        }
        Ok(Self::Parameter { name: name.to_owned(), suffix: suffix.to_owned() })
    }

    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Literal(text) => text == segment,
            Self::Parameter { suffix, .. } => {
                segment.len() > suffix.len() && segment.ends_with(suffix.as_str())
            }
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Literal(text)) => self.matches(text),
            (Self::Literal(_), Self::Parameter { .. }) => false,
            (Self::Parameter { suffix: mine, .. }, Self::Parameter { suffix: theirs, .. }) => {
                theirs.ends_with(mine.as_str())
            }
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    fn suffix_len(&self) -> usize {
        match self {
            Self::Literal(_) => 0,
            Self::Parameter { suffix, .. } => suffix.len(),
        }
    }
}

/// The segments of a canonical path; none for `/`.
fn segments_of(path: &str) -> impl Iterator<Item = &str> {
    let rest = path.strip_prefix('/').unwrap_or(path);
    let count = if rest.is_empty() { 0 } else { usize::MAX };
    rest.split('/').take(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(text: &str) -> Pattern {
        Pattern::parse(text, Extent::Below).expect("a pattern")
    }

    fn exact(text: &str) -> Pattern {
        Pattern::parse(text, Extent::Exact).expect("a pattern")
    }

    #[test]
    fn a_prefix_matches_whole_segments_only() {
        let admin = below("/admin");
        for path in ["/admin", "/admin/", "/admin/api"] {
            assert!(admin.matches(path), "{path}");
        }
        for path in ["/administrator", "/", "/x/admin", "/Admin"] {
            assert!(!admin.matches(path), "{path}");
        }
        assert!(below("/").matches("/") && below("/").matches("/anything/at/all"));
    }

    #[test]
    fn an_exact_path_matches_itself_only() {
        assert!(exact("/api/vendors").matches("/api/vendors"));
        assert!(!exact("/api/vendors").matches("/api/vendors/"));
        assert!(exact("/").matches("/") && !exact("/").matches("/x"));
    }

    #[test]
    fn a_parameter_stands_for_one_segment_or_the_start_of_one() {
        let calendar = exact("/api/calendar/{secret}.ics");
        assert!(calendar.matches("/api/calendar/abc.ics"));
        assert!(!calendar.matches("/api/calendar/.ics"));
        assert!(!calendar.matches("/api/calendar/abc"));
        assert!(!calendar.matches("/api/calendar/a/b.ics"));
        assert!(!exact("/api/vendors/{id}").matches("/api/vendors/"));
    }

    #[test]
    fn the_covered_pattern_is_the_more_specific_one() {
        let ordered = [
            exact("/api/vendors/{id}/availability"),
            exact("/api/vendors/{id}"),
            below("/api/vendors"),
            below("/api"),
            below("/"),
        ];
        for pair in ordered.windows(2) {
            assert!(pair[1].covers(&pair[0]) || !pair[1].overlaps(&pair[0]), "{} {}", pair[0], pair[1]);
            assert_eq!(pair[0].by_specificity(&pair[1]), Ordering::Less, "{} {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn crossing_patterns_overlap_without_covering() {
        let (a, b) = (exact("/x/{id}/c"), exact("/x/b/{id}"));
        assert!(a.overlaps(&b) && !a.covers(&b) && !b.covers(&a));
    }

    #[test]
    fn what_lies_below_a_pattern_is_nothing_or_starts_with_a_slash() {
        for (pattern, path, rest) in [
            ("/", "/", "/"),
            ("/", "/a/b", "/a/b"),
            ("/a", "/a", ""),
            ("/a", "/a/", "/"),
            ("/a", "/a/b/", "/b/"),
            ("/a/{x}", "/a/b/c", "/c"),
        ] {
            assert_eq!(below(pattern).rest_of(path), rest, "{pattern} {path}");
        }
    }

    #[test]
    fn what_never_matches_a_canonical_path_is_refused() {
        for text in ["admin", "/a//b", "/a/../b", "/a/{", "/a/x{id}", "/a/{}"] {
            assert!(Pattern::parse(text, Extent::Exact).is_err(), "{text}");
        }
    }
}
