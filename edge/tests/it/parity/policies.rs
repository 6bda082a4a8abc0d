//! The policies that the cases are about: the shipped one, with more of everything.

/// Beside the shipped routes: several hosts, nested prefixes, names in paths, methods, lists, limits that add up, claims,
/// other sites, redirects, fixed answers, files with a page for all other addresses.
const ROUTES: &str = r#"
[limits.narrow]
requests = 3
seconds = 60

[limits.two]
requests = 2
seconds = 60

[limits.slow]
requests = 1
seconds = 2

[limits.one-of_two]
requests = 5
seconds = 1

[[routes]]
below = "/"
hosts = ["a.example"]
upstream = "backend"
headers = { x-frame-options = "", x-own = "$1 \"quoted\"" }

[[routes]]
below = "/d"
deny = ["127.0.0.3/32", "127.0.0.4/32"]
upstream = "backend"

[[routes]]
below = "/d/e"
allow = ["127.0.0.1/32", "127.0.0.4/32"]
upstream = "backend"

[[routes]]
below = "/d/e"
methods = ["DELETE"]
allow = ["127.0.0.1/32"]
upstream = "backend"

[[routes]]
exact = "/d/e/{id}/f"
methods = ["GET", "DELETE"]
upstream = "backend"

[[routes]]
exact = "/nobody"
allow = []
upstream = "backend"

[[routes]]
exact = "/p/{x}.json"
upstream = "backend"

[[routes]]
exact = "/p/{x}"
token = "required"
upstream = "backend"

[[routes]]
exact = "/@at,here"
token = "required"
upstream = "backend"

[[routes]]
below = "/claims"
token = "required"
claims = { sub = ["user", "x y&z"], aud = "daemun" }
upstream = "backend"

[[routes]]
below = "/vendor"
token = "required"
roles = ["vendor", "admin"]
upstream = "backend"

[[routes]]
below = "/limited"
limits = ["one-of_two"]
upstream = "backend"

[[routes]]
below = "/limited/more"
limits = ["narrow", "one-of_two"]
upstream = "backend"

[[routes]]
below = "/old"
redirect = { to = "/new", keep_path = true }

[[routes]]
below = "/gone"
redirect = { to = "https://other.example/there?a=$b", status = 302 }

[[routes]]
below = "/moved"
redirect = { to = "https://other.example/", status = 301, keep_path = true }

[[routes]]
exact = "/teapot.js"
respond = { status = 418, content_type = "text/x-tea", body = "short & 'stout' \"$5\"" }

[[routes]]
exact = "/empty"
respond = { status = 404 }

[[routes]]
exact = "/nothing-here"
respond = { status = 204 }

[[routes]]
below = "/small"
max_body_bytes = 10
upstream = "backend"
token = "optional"

[[routes]]
below = "/shared"
token = "required"
upstream = "backend"
cors = { origins = ["https://shop.example"], methods = ["PUT", "GET"], headers = ["content-type", "x-a"], credentials = true, max_age_seconds = 60 }

[[routes]]
below = "/shared/nobody"
allow = []
upstream = "backend"

[[routes]]
below = "/shared/open"
upstream = "backend"
cors = { origins = ["*"], methods = ["GET"], max_age_seconds = 5 }

[[routes]]
below = "/slow"
limits = ["slow"]
upstream = "backend"

[[routes]]
below = "/slow/narrow"
limits = ["two"]
upstream = "backend"

[[routes]]
below = "/app"
files = { folder = "web", fallback = "index.html" }

[[routes]]
below = "/quick"
timeouts = { read_ms = 300 }
upstream = "backend"
"#;

/// The shipped policy with [`ROUTES`]; its wide limits are out of the way, since all cases come from one machine.
pub(crate) fn rich(config: String) -> String {
    let config = replaced(
        config,
        "hosts = [\"localhost\", ",
        "hosts = [\"localhost\", \"a.example\", \"b.example\", ",
    );
    let config = replaced(config, "requests = 100\nseconds = 60", "requests = 60000\nseconds = 60");
    let config = replaced(config, "requests = 1200\nseconds = 60", "requests = 120000\nseconds = 60");
    with_routes(&config, ROUTES)
}

/// The same, behind proxies.
pub(crate) fn trusting(config: String) -> String {
    let trusted = "trusted_proxies = [\"127.0.0.5/32\", \"10.0.0.0/8\"]";
    rich(replaced(config, "trusted_proxies = []", trusted))
}

/// Limits and routes come before the shipped routes.
fn with_routes(config: &str, more: &str) -> String {
    let (head, rest) = config.split_once("\n[[routes]]").expect("routes");
    let (limits, routes) = more.split_once("\n[[routes]]").expect("routes");
    format!("{head}\n{limits}\n[[routes]]{routes}\n[[routes]]{rest}")
}

pub(crate) fn replaced(config: String, from: &str, to: &str) -> String {
    assert!(config.contains(from), "the shipped policy has no {from}");
    config.replace(from, to)
}

/// A certificate for `b.example` beside the one for localhost and 127.0.0.1; `c.example` has none.
pub(crate) fn two_certificates(config: String) -> String {
    let folder = config.split("certificate = \"").nth(1).and_then(|rest| rest.split("localhost.pem").next());
    let folder = folder.expect("the folder of the certificates").to_owned();
    crate::tls::write_pair(std::path::Path::new(&folder), "b", &["b.example"], 4000);
    let second = format!(
        "[[tls.certificates]]\ncertificate = \"{folder}b.pem\"\nprivate_key = \"{folder}b-key.pem\"\n\n"
    );
    let config = replaced(
        config,
        "hosts = [\"localhost\", ",
        "hosts = [\"localhost\", \"b.example\", \"c.example\", ",
    );
    replaced(config, "# What clients' conn", &format!("{second}# What clients' conn"))
}

/// Two certificates, no host that is an address, no route that looks at a token, and a wide limit that is spent before the
/// narrow one.
pub(crate) fn bare(config: String) -> String {
    let config = two_certificates(config);
    let hosts = config.lines().find(|line| line.starts_with("hosts = [")).expect("hosts").to_owned();
    let config = config.replacen(&hosts, "hosts = [\"localhost\", \"b.example\"]", 1);
    let config = replaced(config, "requests = 1200\nseconds = 60", "requests = 6\nseconds = 60");
    let (head, _) = config.split_once("\n[[routes]]").expect("routes");
    let routes = r#"
[[routes]]
below = "/"
deny = ["127.0.0.3/32"]
limits = ["site"]
upstream = "backend"

[[routes]]
below = "/narrow"
limits = ["login"]
upstream = "backend"
"#;
    format!("{head}\n{routes}")
}
