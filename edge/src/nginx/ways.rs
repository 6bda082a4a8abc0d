//! Where a request goes once nothing refuses it: a named location for each way of being answered.

use std::path::Path;
use std::time::Duration;

use super::Places;
use super::answers::set_fields;
use super::cases::Case;
use super::guards::ms;
use super::media;
use super::writer::{Writer, quoted, verbatim};
use crate::config::{
    Coding, CompressionPolicy, Extent, FileFolder, FixedAnswer, Policy, Redirect, Target, Upstream,
};

/// What requests have in common that one location answers.
#[derive(PartialEq)]
enum Way<'a> {
    Upstream {
        /// Index into the policy's.
        upstream: usize,
        /// How many servers it has.
        servers: usize,
        is_websocket: bool,
        read_timeout: Option<Duration>,
        max_body_bytes: u64,
        may_compress: bool,
        /// Fields of the service that give way to the policy's.
        hidden: Vec<String>,
    },
    Files {
        files: &'a FileFolder,
        may_redirect: bool,
        may_compress: bool,
    },
    Redirect {
        redirect: &'a Redirect,
        depth: usize,
    },
    Respond(&'a FixedAnswer),
}

/// All ways of a policy, and which case takes which.
pub(super) struct Ways<'a> {
    ways: Vec<(String, Way<'a>)>,
    /// For each case the index of its way.
    of_cases: Vec<usize>,
}

/// How a failed request may be sent again, by its method. What stands behind it is nginx's own rule: POST, PATCH and LOCK
/// go elsewhere only if nothing was sent.
const REPEATS: [(&str, &str); 3] =
    [("safe", "~^(?:GET|HEAD|OPTIONS)$"), ("unsent", "~^(?:POST|PATCH|LOCK)$"), ("once", "~")];

impl<'a> Ways<'a> {
    pub(super) fn of(policy: &'a Policy, cases: &[Case<'a>]) -> Self {
        let mut ways: Vec<(String, Way<'a>)> = Vec::new();
        let mut of_cases = Vec::new();
        for case in cases {
            let way = way(policy, case);
            let known = ways.iter().position(|(_, known)| *known == way);
            of_cases.push(known.unwrap_or_else(|| {
                let kind = match &way {
                    Way::Upstream { is_websocket: true, .. } => "websocket".to_owned(),
                    Way::Upstream { .. } => "upstream".to_owned(),
                    Way::Files { .. } => "files".to_owned(),
                    Way::Redirect { .. } => "redirect".to_owned(),
                    Way::Respond(_) => "answer".to_owned(),
                };
                ways.push((format!("{kind}-{}", ways.len() + 1), way));
                ways.len() - 1
            }));
        }
        Self { ways, of_cases }
    }

    /// `$way`: the location's name.
    pub(super) fn map(&self, w: &mut Writer, cases: &[Case<'_>], has_cors: bool) {
        w.comment("Whether a failed request may go to another server: safe ones also after it was sent, others only while nothing was. nginx would also repeat a PUT or DELETE that was sent: those stay where they were.");
        w.map(
            "$request_method",
            "$repeat",
            "once",
            REPEATS[..2].iter().map(|(name, methods)| (methods, name)),
        );
        w.blank();
        self.body_limits(w, cases);
        let has_preflight = if has_cors { "$preflight" } else { "none" };
        w.comment("Where a request goes that no guard refuses: the location's name.");
        let mut entries = Vec::new();
        if has_cors {
            entries.push(("~^yes ".to_owned(), "preflight".to_owned()));
            entries
                .push(("~^(?:origin|method|fields) ".to_owned(), "problem-cross-origin-refused".to_owned()));
        }
        entries.push(("~^[^ ]+ yes ".to_owned(), "problem-body-too-large".to_owned()));
        for (case, index) in cases.iter().zip(&self.of_cases) {
            let (name, way) = &self.ways[*index];
            let value = if has_repeats(way) { format!("{name}-$repeat") } else { name.clone() };
            entries.push((format!("~ {}$", case.name), value));
        }
        w.map(&format!("\"{has_preflight} $body_too_large $route\""), "$way", "problem-internal", entries);
    }

    /// `$most_body_bytes` and `$body_too_large`, by what a body says of its own length.
    fn body_limits(&self, w: &mut Writer, cases: &[Case<'_>]) {
        w.comment("The longest body of each case. nginx's own check comes before every guard; this one, of the length that a request says itself, comes behind them.");
        let usual = cases.first().map_or(0, |case| case.max_body_bytes);
        let others = cases.iter().filter(|case| case.max_body_bytes != usual);
        let others: Vec<_> =
            others.map(|case| (case.name.as_str(), case.max_body_bytes.to_string())).collect();
        w.map("$route", "$most_body_bytes", &usual.to_string(), others);
        let mut limits: Vec<u64> = cases.iter().map(|case| case.max_body_bytes).collect();
        limits.sort_unstable();
        limits.dedup();
        let entries = limits.iter().map(|limit| (format!("~^{limit} 0*(?:{})$", longer_than(*limit)), "yes"));
        w.map("\"$most_body_bytes $content_length\"", "$body_too_large", "no", entries);
        w.blank();
    }

    /// The locations.
    pub(super) fn locations(&self, w: &mut Writer, policy: &Policy, places: &Places) {
        for (name, way) in &self.ways {
            match way {
                Way::Upstream { upstream, .. } => {
                    for (repeat, _) in REPEATS {
                        if has_repeats(way) {
                            w.block(&format!("location @{name}-{repeat}"), |w| {
                                upstream_way(w, policy, way, &policy.upstreams[*upstream], repeat);
                            });
                        }
                    }
                    if !has_repeats(way) {
                        w.block(&format!("location @{name}"), |w| {
                            upstream_way(w, policy, way, &policy.upstreams[*upstream], "once");
                        });
                    }
                }
                Way::Files { files, may_redirect, may_compress } => {
                    let compression = policy.compression.as_ref().filter(|_| *may_compress);
                    w.block(&format!("location @{name}"), |w| {
                        file_way(w, files, *may_redirect, compression, places)
                    });
                }
                Way::Redirect { redirect, depth } => {
                    w.block(&format!("location @{name}"), |w| redirect_way(w, redirect, *depth));
                }
                Way::Respond(answer) => w.block(&format!("location @{name}"), |w| fixed_way(w, answer)),
            }
            w.blank();
        }
    }

    /// Whether a redirect takes along what lies below its path.
    pub(super) fn keeps_paths(&self) -> Vec<usize> {
        let mut depths: Vec<usize> = self
            .ways
            .iter()
            .filter_map(|(_, way)| match way {
                Way::Redirect { redirect, depth } if redirect.keep_path => Some(*depth),
                _ => None,
            })
            .collect();
        depths.sort_unstable();
        depths.dedup();
        depths
    }
}

fn way<'a>(policy: &'a Policy, case: &Case<'a>) -> Way<'a> {
    let pattern = &case.route.pattern;
    match &case.route.target {
        Target::Upstream(index) => Way::Upstream {
            upstream: *index,
            servers: policy.upstreams[*index].servers.len(),
            is_websocket: case.route.websocket,
            read_timeout: case.read_timeout.filter(|_| !case.route.websocket),
            max_body_bytes: case.max_body_bytes,
            may_compress: case.may_compress,
            hidden: {
                let mut hidden = set_fields(policy, case);
                if case.cors.is_some() {
                    hidden.extend([
                        "access-control-allow-origin".to_owned(),
                        "access-control-allow-credentials".to_owned(),
                    ]);
                }
                hidden
            },
        },
        Target::Files(files) => Way::Files {
            files,
            may_redirect: pattern.extent() == Extent::Below,
            may_compress: case.may_compress,
        },
        Target::Redirect(redirect) => Way::Redirect { redirect, depth: pattern.parts().count() },
        Target::Respond(answer) => Way::Respond(answer),
    }
}

fn has_repeats(way: &Way<'_>) -> bool {
    matches!(way, Way::Upstream { servers, .. } if *servers > 1)
}

/// An expression for numbers above one.
fn longer_than(limit: u64) -> String {
    let digits = limit.to_string();
    let mut words = vec![format!("[1-9][0-9]{{{},}}", digits.len())];
    for (place, digit) in digits.bytes().enumerate() {
        if digit < b'9' {
            let rest = digits.len() - place - 1;
            let above = char::from(digit + 1);
            let behind = if rest == 0 { String::new() } else { format!("[0-9]{{{rest}}}") };
            words.push(format!("{}[{above}-9]{behind}", &digits[..place]));
        }
    }
    words.join("|")
}

fn upstream_way(w: &mut Writer, policy: &Policy, way: &Way<'_>, upstream: &Upstream, repeat: &str) {
    let Way::Upstream { is_websocket, read_timeout, max_body_bytes, may_compress, hidden, .. } = way else {
        return;
    };
    // Zero would mean no limit.
    w.line(format!("client_max_body_size {};", (*max_body_bytes).max(1)));
    w.line(format!("proxy_pass http://{};", upstream.name));
    w.line(format!("proxy_connect_timeout {};", ms(upstream.connect_timeout)));
    let silence = match (is_websocket, read_timeout) {
        (true, _) => upstream.websocket_idle,
        (false, Some(timeout)) => *timeout,
        (false, None) => upstream.read_timeout,
    };
    w.line(format!("proxy_read_timeout {};", ms(silence)));
    w.line(format!("proxy_send_timeout {};", ms(silence)));
    match repeat {
        "safe" if upstream.retries > 0 => {
            w.line("proxy_next_upstream error timeout invalid_header http_500 http_502 http_503 http_504;");
            w.line(format!("proxy_next_upstream_tries {};", upstream.retries + 1));
        }
        "safe" | "once" => w.line("proxy_next_upstream off;"),
        _ => {
            w.line("proxy_next_upstream error timeout;");
            w.line("proxy_next_upstream_tries 2;");
        }
    }
    w.line("proxy_hide_header x-powered-by;");
    w.line("proxy_hide_header via;");
    w.line("proxy_hide_header x-request-id;");
    for name in hidden {
        w.line(format!("proxy_hide_header {name};"));
    }
    compression(w, policy.compression.as_ref().filter(|_| *may_compress && !is_websocket));
    w.line("error_page 400 408 =400 @problem-bad-request;");
    w.line("error_page 413 @problem-body-too-large;");
    w.line("error_page 500 @problem-internal;");
    w.line("error_page 502 504 = @failed;");
}

fn compression(w: &mut Writer, policy: Option<&CompressionPolicy>) {
    let Some(policy) = policy.filter(|policy| policy.codings.contains(&Coding::Gzip)) else {
        return w.line("gzip off;");
    };
    w.line("gzip on;");
    w.line(format!("gzip_min_length {};", policy.min_bytes));
    w.line(format!("gzip_comp_level {};", [1, 1, 4, 7][usize::from(policy.level.min(3))]));
}

fn file_way(
    w: &mut Writer,
    files: &FileFolder,
    may_redirect: bool,
    compressed: Option<&CompressionPolicy>,
    places: &Places,
) {
    w.line(format!("root {};", quoted(&places.of(&files.folder))));
    w.line("set $answer file;");
    w.line("error_page 403 404 =404 @problem-not-found;");
    w.line("error_page 405 @problem-method-not-allowed;");
    w.line("error_page 412 @problem-precondition-failed;");
    w.line("error_page 416 @problem-range-not-satisfiable;");
    w.line("error_page 500 @problem-internal;");
    w.line("if ($request_method !~ ^(?:GET|HEAD)$) { return 405; }");
    w.comment("What is hidden, and what no file of ours is called: a byte that is still encoded.");
    w.line("if ($path !~ \"^(?:/(?![.])[A-Za-z0-9._~:@!$&'()*+,=-]*)+$\") { return 404; }");
    if may_redirect {
        w.comment("A folder's page has a slash at its end: its links start there.");
        w.line("error_page 308 @nothing;");
        w.block("if (-f $document_root$folder_page)", |w| {
            w.line("set $answer folder;");
            w.line("return 308 $uri/$is_args$args;");
        });
    }
    w.comment("No link leads out of the folder: links aren't followed at all.");
    w.line("disable_symlinks on from=$document_root;");
    match &files.fallback {
        None => w.line("try_files $uri $uri/index.html =404;"),
        Some(page) => {
            w.comment("A browser's addresses that are no file's get this page.");
            w.line(format!("try_files $uri $uri/index.html $only_for_pages{page} =404;"));
        }
    }
    w.line("max_ranges 1;");
    w.line("if_modified_since before;");
    w.line("gzip_static on;");
    compression(w, compressed);
    w.line("charset utf-8;");
    w.line(format!("charset_types {};", media::texts().join(" ")));
}

fn redirect_way(w: &mut Writer, redirect: &Redirect, depth: usize) {
    let status = redirect.status.as_u16();
    w.line(format!("error_page {status} @nothing;"));
    let to = verbatim(&redirect.to);
    if !redirect.keep_path {
        return w.line(format!("return {status} {to};"));
    }
    w.line("error_page 400 @problem-bad-request;");
    w.comment("Of a path that nginx has decoded no one knows how it was spelled.");
    w.line(format!("if ($path_below_{depth} = \"unclear\") {{ return 400; }}"));
    let to = to.trim_matches('"');
    w.line(format!("set $location \"{to}$path_below_{depth}\";"));
    if redirect.to.is_empty() {
        w.line("if ($location = \"\") { set $location /; }");
    }
    w.line(format!("return {status} $location$is_args$args;"));
}

/// `$path_below_N`: what a path has behind its first N segments.
pub(super) fn paths_below(w: &mut Writer, depths: &[usize]) {
    for depth in depths {
        let plain = "A-Za-z0-9._~/:@!$&'()*+,=-";
        let segments = if *depth == 0 { String::new() } else { format!("(?:/[^/]+){{{depth}}}") };
        let entries = [
            (format!("~^canonical {segments}((?:/.*)?)$"), "$1".to_owned()),
            (format!("~^respelled {segments}((?:/[{plain}]*)?)$"), "$1".to_owned()),
        ];
        w.map("\"$path_form $path\"", &format!("$path_below_{depth}"), "unclear", entries);
    }
}

fn fixed_way(w: &mut Writer, answer: &FixedAnswer) {
    let status = answer.status.as_u16();
    w.line("types { }");
    if status == 204 {
        w.line("default_type \"\";");
        return w.line("return 204;");
    }
    w.line(format!("default_type {};", verbatim(answer.content_type.to_str().unwrap_or_default())));
    w.comment("A text that is no variable's would have nginx's own page in its place where it is empty.");
    w.line(format!("set $fixed {};", verbatim(&answer.body)));
    w.line(format!("return {status} $fixed;"));
}

/// A relative path as nginx reads it, whose other files are below the folder that it is started in.
pub(super) fn tidy(path: &Path) -> std::path::PathBuf {
    let mut tidy = std::path::PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir if tidy.file_name().is_some() => {
                tidy.pop();
            }
            part => tidy.push(part),
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    proptest! {
        #[test]
        fn a_length_is_told_from_its_digits(limit in 0..3_000_000_u64, length in 0..4_000_000_u64) {
            let expression = Regex::new(&format!("^0*(?:{})$", longer_than(limit))).expect("an expression");
            for length in [length, limit, limit + 1] {
                prop_assert_eq!(expression.is_match(&length.to_string()), length > limit, "{} {}", length, limit);
            }
        }
    }

    #[test]
    fn detours_of_the_policys_paths_are_left_out() {
        assert_eq!(tidy(Path::new("config/../web")), Path::new("web"));
        assert_eq!(tidy(Path::new("/a/./b/../c")), Path::new("/a/c"));
        assert_eq!(tidy(Path::new("../web")), Path::new("../web"));
    }
}
