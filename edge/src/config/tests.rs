use std::sync::LazyLock;

use super::*;

/// The shipped file as it is without any variable set.
pub(super) static SHIPPED: LazyLock<String> = LazyLock::new(|| {
    config_text::expand(include_str!("../../../config/edge.toml"), |_| None)
        .expect("every variable has a default")
});

fn faults(text: &str) -> Vec<String> {
    let faults = parse(text, Path::new("/")).expect_err("a faulty config");
    faults.into_iter().map(|fault| format!("{}: {}", fault.line, fault.message)).collect()
}

#[test]
fn the_shipped_configuration_is_valid() {
    parse(&SHIPPED, Path::new("/")).expect("valid");
}

#[test]
fn all_faults_are_told_at_once_with_their_lines() {
    let text = SHIPPED
        .replace("127.0.0.1/32", "127.0.0.1/33")
        .replace("limits = [\"admin\"]", "limits = [\"nobody\"]")
        .replace("roles = [\"admin\"]", "roles = [\"boss\"]")
        .replace("exact = \"/api/openapi.json\"", "exact = \"/api/vendors\"");
    let line_of = |needle: &str| {
        let offset = text.find(needle).expect("is there");
        text[..offset].matches('\n').count() + 1
    };
    let expected = [
        format!("{}: `127.0.0.1/33` is not a network such as 10.0.0.0/8", line_of("127.0.0.1/33")),
        format!("{}: no limit is named `nobody`", line_of("nobody")),
        format!("{}: unknown role `boss`: expected user, vendor or admin", line_of("boss")),
    ];
    let told = faults(&text);
    assert_eq!(told[..3], expected);
    assert!(told[3].contains("the same host, path and method as the route of line"), "{told:?}");
    assert_eq!(told.len(), 4);
}

#[test]
fn an_unknown_key_is_refused_with_its_place() {
    let told = faults(&SHIPPED.replace("grace_seconds", "grase_seconds"));
    let line = SHIPPED[..SHIPPED.find("grace_seconds").expect("is there")].matches('\n').count() + 1;
    assert!(told[0].starts_with(&format!("{line}: unknown field `grase_seconds`")), "{told:?}");
}

#[test]
fn faults_of_form_and_of_meaning_are_told_together() {
    let text = SHIPPED
        .replace("websocket = true", "websocket = \"yes\"")
        .replace("limits = [\"admin\"]", "limitz = [\"admin\"]")
        .replace("[limits.site]", "[limit]\nx = 1\ny = 2\n[limits.site]")
        .replace("127.0.0.1/32", "127.0.0.1/33");
    let told = faults(&text);
    for part in ["invalid type: string", "unknown field `limit`", "127.0.0.1/33", "unknown field `limitz`"] {
        assert_eq!(told.iter().filter(|fault| fault.contains(part)).count(), 1, "{part}: {told:#?}");
    }
    assert_eq!(told.len(), 4, "{told:#?}");
}

#[test]
fn a_limit_that_limits_nothing_is_refused() {
    for (requests, seconds) in [("0", "60"), ("10", "0"), ("4000000000", "1")] {
        let limit = format!("[limits.login]\nrequests = {requests}\nseconds = {seconds}\n");
        let told = faults(&SHIPPED.replace("[limits.login]\nrequests = 10\nseconds = 60\n", &limit));
        assert!(told.iter().all(|fault| fault.contains("limit `login`")), "{told:#?}");
    }
}

#[test]
fn a_value_that_cannot_be_read_is_not_told_again_as_missing() {
    let told = faults(&SHIPPED.replace("grace_seconds = 10", "grace_seconds = \"two\""));
    assert_eq!(told.len(), 1, "{told:#?}");
}

#[test]
fn what_is_missing_hides_no_other_fault() {
    let text = SHIPPED
        .replace("grace_seconds = 10", "grace_secs = 2")
        .replace("issuer = \"daemun\"\n", "")
        .replace("[limits.admin]\nrequests = 600\n", "[limits.admin]\n")
        .replace("127.0.0.1/32", "127.0.0.1/33");
    let told = faults(&text);
    let expected = ["`grace_secs`", "missing field `issuer`", "missing field `requests`", "127.0.0.1/33"];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (fault, words) in told.iter().zip(expected) {
        assert!(fault.contains(words), "{told:#?}");
    }
    let line = text[..text.find("[limits.admin]").expect("is there")].matches('\n').count() + 1;
    assert!(told[2].starts_with(&format!("{line}: ")), "{told:#?}");
}

#[test]
fn an_unknown_list_is_one_fault_over_all_its_lines() {
    let told = faults(&SHIPPED.replace("servers = [", "serverz = ["));
    assert_eq!(told.len(), 1, "{told:#?}");
}

#[test]
fn a_file_that_is_no_toml_is_one_fault() {
    assert_eq!(faults("hosts = [").len(), 1);
    assert_eq!(faults("").len(), 2);
}

#[test]
fn crossing_routes_are_refused() {
    let routes =
        "[[routes]]\nexact = \"/x/{a}/c\"\nfiles = \"w\"\n[[routes]]\nexact = \"/x/b/{a}\"\nfiles = \"w\"\n";
    assert!(faults(&format!("{}\n{routes}", *SHIPPED))[0].contains("neither is narrower"));
}

/// What is told of a route that is put behind the shipped ones, with lines from its own first one.
fn told_of_route(lines: &str) -> Vec<String> {
    let text = format!("{}\n[[routes]]\n{lines}\n", *SHIPPED);
    let first = SHIPPED.lines().count() as i64 + 3;
    let faults = parse(&text, Path::new("/")).err().unwrap_or_default();
    let place = |fault: Fault| format!("{}:{}: {}", fault.line as i64 - first, fault.column, fault.message);
    faults.into_iter().map(place).collect()
}

#[test]
fn each_fault_of_a_route_stands_at_its_word() {
    let required = "token = \"required\"\nfiles = \"w\"\n";
    for (lines, expected) in [
        (r#"hosts = ["localhost", "b.example"]"#, "2:23: `b.example` is not one"),
        (r#"deny = ["10.0.0.0/8", "10.0.0.1/8"]"#, "2:23: `10.0.0.1/8` has host"),
        (r#"methods = ["TRACE"]"#, "2:12: `TRACE` is not a method"),
        (r#"claims = { sub = "ada" }"#, "2:10: `claims` needs `token"),
        (r#"timeouts = { read_ms = 5 }"#, "2:12: `timeouts` needs `upstream`"),
        (r#"upstream = "backend""#, "-1:1: a route has one of"),
        (r#"headers = { set-cookie = "a" }"#, "2:13: `set-cookie` is the answer's own"),
        (r#"headers = { x-a = "a\r\nb: c" }"#, "2:19: the value of `x-a` has a byte"),
        (r#"headers = { strict-transport-security = "a" }"#, "2:13: `strict-transport-security` is set by"),
    ] {
        let told = told_of_route(&format!("below = \"/x\"\nfiles = \"w\"\n{lines}"));
        assert!(told.len() == 1 && told[0].starts_with(expected), "{lines}\n{told:#?}");
    }
    for (lines, expected) in [
        (r#"claims = { role = "boss" }"#, "3:19: unknown role"),
        (r#"claims = { sub = [] }"#, "3:18: no value of `sub`"),
        (r#"claims = { exp = "x" }"#, "3:12: unknown field `exp`"),
    ] {
        let told = told_of_route(&format!("below = \"/x\"\n{required}{lines}"));
        assert!(told.len() == 1 && told[0].starts_with(expected), "{lines}\n{told:#?}");
    }
    for (lines, expected) in [
        ("upstream = \"backend\"\ntimeouts = { read_ms = 0 }", "2:24: `read_ms` is at least 1"),
        ("respond = { status = 301 }", "1:22: a fixed answer's status"),
        ("respond = { status = 204, body = \"x\" }", "1:11: an answer with status 204"),
    ] {
        let told = told_of_route(&format!("below = \"/x\"\n{lines}"));
        assert!(told.len() == 1 && told[0].starts_with(expected), "{lines}\n{told:#?}");
    }
}

#[test]
fn files_are_a_folder_or_a_table() {
    for (files, expected) in [
        (r#"{ folder = "w", fallback = "index.html" }"#, ""),
        (r#"{ folder = "w", fallback = "a/b.html" }"#, ""),
        (r#"{ folder = "w", fallback = "../b.html" }"#, "1:36: `../b.html` is no file"),
        (r#"{ folder = "w", fallback = "/b.html" }"#, "1:36: `/b.html` is no file"),
        (r#"{ folder = "w", fallback = "a b" }"#, "1:36: `a b` is no file"),
        (r#"{ folder = "w", fall = "b.html" }"#, "1:25: unknown field `fall`"),
        (r#"{ fallback = "b.html" }"#, "1:9: missing field `folder`"),
        ("7", "1:9: invalid type: integer `7`, expected a folder, or { folder, fallback }"),
    ] {
        let told = told_of_route(&format!("below = \"/x\"\nfiles = {files}"));
        assert!(told.len() == usize::from(!expected.is_empty()), "{files}\n{told:#?}");
        assert!(told.iter().all(|fault| fault.starts_with(expected)), "{files}\n{told:#?}");
    }
}

#[test]
fn compression_that_would_do_nothing_or_too_much_is_refused() {
    for (from, to, words) in [
        ("[\"zstd\", ", "[\"deflate\", ", "`deflate` is no coding"),
        ("[\"zstd\", ", "[\"gzip\", ", "`gzip` is named twice"),
        ("level = 1", "level = 4", "`level` is 1 to 3, not 4"),
        ("level = 1", "level = 0", "`level` is 1 to 3, not 0"),
        ("memory_kib = 3072", "memory_kib = 1199", "`memory_kib` is 1200, one encoder's, to"),
        ("memory_kib = 1536", "memory_kib = 99999999", "`memory_kib` is at most"),
        ("level = 1\n", "", "missing field `level`"),
        ("memory_kib = 1536", "memory = 1536", "unknown field `memory`"),
    ] {
        assert!(SHIPPED.contains(from), "{from}");
        let told = faults(&SHIPPED.replacen(from, to, 1));
        assert!(told.len() == 1 && told[0].contains(words), "{to}: {told:#?}");
    }
    let without = SHIPPED.find("[files]").zip(SHIPPED.find("# Routes.")).expect("both are there");
    let policy = parse(&format!("{}{}", &SHIPPED[..without.0], &SHIPPED[without.1..]), Path::new("/"));
    let policy = policy.expect("neither section is needed");
    assert!(policy.compression.is_none() && policy.file_memory_bytes == 0);
}

#[test]
fn a_redirect_leads_to_a_path_or_to_https() {
    for to in [
        "//evil.example",
        "/\\\\evil.example",
        "http://a.example",
        "https://u@a.example",
        "javascript:alert(1)",
        "a/b",
        "https://",
        "/a b",
        "/a\\r\\nb",
        "",
    ] {
        let told = told_of_route(&format!("exact = \"/x\"\nredirect = {{ to = \"{to}\" }}"));
        assert!(told.len() == 1 && told[0].contains("neither a path"), "{to}: {told:#?}");
    }
    for (redirect, words) in [
        (r#"{ to = "/y", status = 303 }"#, "not 303"),
        (r#"{ to = "/y", keep_path = true }"#, "`keep_path` needs `below`"),
        (r#"{ to = "/y?x", keep_path = true }"#, "a query or a fragment already"),
        ("{ status = 301 }", "missing field `to`"),
    ] {
        let told = told_of_route(&format!("exact = \"/x\"\nredirect = {redirect}"));
        assert!(told.len() == 1 && told[0].contains(words), "{redirect}: {told:#?}");
    }
    assert_eq!(told_of_route("exact = \"/x\"\nredirect = { to = \"/y?x\" }"), [""; 0]);
}

#[test]
fn cors_that_would_open_too_much_or_nothing_is_refused() {
    for (cors, words) in [
        (r#"origins = ["*"], methods = ["GET"], credentials = true"#, "`*` with `credentials`"),
        (r#"origins = ["*", "https://a.example"], methods = ["GET"]"#, "name it alone"),
        (r#"origins = [], methods = ["GET"]"#, "`origins` is empty"),
        (r#"origins = ["https://a.example"], methods = []"#, "`methods` is empty"),
        (r#"origins = ["null"], methods = ["GET"]"#, "`null` is not an origin"),
        (r#"origins = ["https://a.example/"], methods = ["GET"]"#, "is not an origin"),
        (r#"origins = ["https://a.example"], methods = ["GET"], headers = ["*"]"#, "`*` is no field's name"),
    ] {
        let cors = format!("cors = {{ {cors}, max_age_seconds = 1 }}");
        let told = told_of_route(&format!("below = \"/x\"\nupstream = \"backend\"\n{cors}"));
        assert!(told.len() == 1 && told[0].starts_with("2:") && told[0].contains(words), "{cors}: {told:#?}");
    }
}

#[test]
fn a_limit_of_users_needs_a_route_that_knows_them() {
    for by in ["user", "both"] {
        let text = SHIPPED.replacen("[limits.site]\n", &format!("[limits.site]\nby = \"{by}\"\n"), 1);
        let told = faults(&text);
        assert!(told.len() == 1 && told[0].contains("the limit `site` counts users"), "{told:#?}");
    }
}

#[test]
fn routes_tie_by_host_path_and_method() {
    let with = |second: &str| {
        let first =
            "below = \"/x\"\nhosts = [\"localhost\", \"[::1]\"]\nfiles = \"w\"\n[[routes]]\nbelow = \"/x\"";
        told_of_route(&format!("{first}\nfiles = \"w\"\n{second}"))
    };
    assert_eq!(with(""), [""; 0]);
    assert_eq!(with("hosts = [\"127.0.0.1\"]"), [""; 0]);
    assert_eq!(with("hosts = [\"[::1]\"]\nmethods = [\"GET\"]"), [""; 0]);
    assert!(with("hosts = [\"[::1]\"]")[0].contains("the same host, path and method"));
}

/// A string that is left open goes on through all that follows, also through what was put in for what is missing.
#[test]
fn a_fault_behind_the_texts_end_still_stands_in_a_line_of_it() {
    let text = "hosts ='''a [\n[lis= \"b'";
    for Fault { line, column, message } in parse(text, Path::new("/")).expect_err("a faulty config") {
        let place = text.split('\n').nth(line - 1).unwrap_or_else(|| panic!("no line {line}: {message}"));
        assert!(column <= place.chars().count() + 1, "{line}:{column}: {message}");
    }
}

#[test]
fn a_column_lies_within_its_line() {
    let at = |line, column| {
        let fault = Fault { line, column, message: String::new() };
        super::within("ab\n\u{d55c}\n", fault).column
    };
    assert_eq!([at(1, 1), at(1, 3), at(1, 99), at(2, 99), at(3, 99), at(9, 99)], [1, 3, 3, 2, 1, 1]);
}
