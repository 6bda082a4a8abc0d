//! The guards that nginx asks itself: address lists, limits, and what is asked of the backend about tokens.

use std::time::Duration;

use ipnet::IpNet;

use super::arrival::geo;
use super::cases::Case;
use super::writer::{Writer, quoted};
use super::{Inexpressible, ZONE};
use crate::config::{ClaimRule, Limit, LimitKey, Policy, TokenRule};

/// `$address`: whether lists along the path let the client come.
pub(super) fn addresses(w: &mut Writer, cases: &[Case<'_>]) {
    let lists = lists(cases);
    if lists.is_empty() {
        return;
    }
    w.comment("Lists of addresses; $on_list_N is 1 for clients that are on it.");
    for (number, networks) in lists.iter().enumerate() {
        geo(w, &format!("$on_list_{number}"), networks);
    }
    w.blank();
    w.comment("A client may come if it is on each allowlist along the path, and on no denylist. In the expressions: the case, then a digit for each list.");
    let states: String = (0..lists.len()).map(|number| format!("$on_list_{number}")).collect();
    let mut entries = Vec::new();
    for case in cases {
        let of = |networks: &[IpNet]| lists.iter().position(|list| *list == networks);
        let allow: Vec<_> =
            case.along.iter().filter_map(|route| route.allow.as_deref()).filter_map(of).collect();
        let deny: Vec<_> = case.along.iter().filter_map(|route| of(&route.deny)).collect();
        if allow.is_empty() && deny.is_empty() {
            continue;
        }
        let is_both = allow.iter().any(|number| deny.contains(number));
        let digit = |number: usize| match (allow.contains(&number), deny.contains(&number)) {
            (true, _) => '1',
            (false, true) => '0',
            (false, false) => '.',
        };
        let digits: String = (0..lists.len()).map(digit).collect();
        if !is_both {
            entries.push((format!("~^{} {digits}$", case.name), "may-come"));
        }
        entries.push((format!("~^{} ", case.name), "may-not-come"));
    }
    w.map(&format!("\"$route {states}\""), "$address", "may-come", entries);
}

/// The lists that cases have, each once. An empty denylist is none.
fn lists<'a>(cases: &[Case<'a>]) -> Vec<&'a [IpNet]> {
    let mut lists: Vec<&[IpNet]> = Vec::new();
    for route in cases.iter().flat_map(|case| &case.along) {
        let deny = Some(route.deny.as_slice()).filter(|list| !list.is_empty());
        for list in route.allow.as_deref().into_iter().chain(deny) {
            if !lists.contains(&list) {
                lists.push(list);
            }
        }
    }
    lists
}

/// Whether any client is kept out by its address.
pub(super) fn has_lists(cases: &[Case<'_>]) -> bool {
    !lists(cases).is_empty()
}

/// A limit as nginx counts it.
pub(super) struct Rate<'a> {
    pub(super) limit: &'a Limit,
    /// `10r/m`
    words: String,
    /// What nginx gives back in a second, in thousandths of a request.
    thousandths: u64,
}

impl Rate<'_> {
    /// How long at most until the next request passes.
    fn wait_seconds(&self) -> u64 {
        1000_u64.div_ceil(self.thousandths)
    }

    /// Whether nginx gives back a little less than the limit says.
    pub(super) fn is_rounded(&self) -> bool {
        u64::from(self.limit.requests) * 1000 != self.thousandths * self.limit.per.as_secs()
    }
}

/// The limits that routes use, by their index; an error for each that stock nginx can't count exactly.
pub(super) fn rates<'a>(
    policy: &'a Policy,
    cases: &[Case<'_>],
) -> Result<Vec<(usize, Rate<'a>)>, Vec<Inexpressible>> {
    let mut rates = Vec::new();
    let mut faults = Vec::new();
    for (index, limit) in policy.limits.iter().enumerate() {
        if !cases.iter().any(|case| limits_of(case).contains(&index)) {
            continue;
        }
        match rate(limit) {
            Ok(rate) => rates.push((index, rate)),
            Err(why) => faults.push(Inexpressible { what: format!("the limit `{}`", limit.name), why }),
        }
    }
    if faults.is_empty() { Ok(rates) } else { Err(faults) }
}

fn rate(limit: &Limit) -> Result<Rate<'_>, String> {
    if limit.by != LimitKey::Address {
        return Err(
            "nginx counts before it knows whose token a request carries: a limit is by address".to_owned()
        );
    }
    let (requests, seconds) = (u64::from(limit.requests), limit.per.as_secs());
    let (count, unit, scale) = match (requests % seconds, requests * 60 % seconds) {
        (0, _) => (requests / seconds, 's', 1),
        (_, 0) => (requests * 60 / seconds, 'm', 60),
        _ => return Err(format!("{requests} in {seconds} s is no whole number a second or a minute")),
    };
    Ok(Rate { limit, words: format!("{count}r/{unit}"), thousandths: count * 1000 / scale })
}

/// Each limit along the path once, narrowest first.
fn limits_of(case: &Case<'_>) -> Vec<usize> {
    let mut limits = Vec::new();
    for index in case.along.iter().flat_map(|route| &route.limits) {
        if !limits.contains(index) {
            limits.push(*index);
        }
    }
    limits
}

/// Whom each limit counts (nobody, where it doesn't hold), and how long a refused client is told to wait.
pub(super) fn limits(w: &mut Writer, cases: &[Case<'_>], rates: &[(usize, Rate<'_>)]) {
    for (index, rate) in rates {
        let limit = rate.limit;
        w.comment(&format!(
            "Limit {}: {} requests at once, then one each {} ms. An empty key isn't counted.",
            limit.name,
            limit.requests,
            limit.per.as_millis() / u128::from(limit.requests)
        ));
        let of = cases.iter().filter(|case| limits_of(case).contains(index));
        let entries: Vec<_> = of.map(|case| (case.name.as_str(), "$client_network")).collect();
        w.map("$route", &key_name(limit), "\"\"", entries);
        w.line(format!(
            "limit_req_zone {} zone={}:{ZONE} rate={};",
            key_name(limit),
            zone_name(limit),
            rate.words
        ));
        w.blank();
    }
    w.comment("After so many seconds a request passes again, whichever limit of the case has refused it.");
    let wait = |case: &Case<'_>| {
        let of = limits_of(case);
        let waits = rates.iter().filter(|(index, _)| of.contains(index)).map(|(_, rate)| rate.wait_seconds());
        waits.max().filter(|seconds| *seconds > 1)
    };
    let entries = cases.iter().filter_map(|case| Some((case.name.as_str(), wait(case)?.to_string())));
    w.map("$route", "$limit_wait", "1", entries);
}

/// What counts a request of any case.
pub(super) fn limit_lines(w: &mut Writer, rates: &[(usize, Rate<'_>)]) {
    for (_, Rate { limit, .. }) in rates {
        let zone = zone_name(limit);
        match limit.requests {
            1 => w.line(format!("limit_req zone={zone};")),
            more => w.line(format!("limit_req zone={zone} burst={} nodelay;", more - 1)),
        }
    }
}

/// The variable that says whom a limit counts.
fn key_name(limit: &Limit) -> String {
    format!("$counted_in_{}", limit.name.replace('-', "_"))
}

fn zone_name(limit: &Limit) -> String {
    format!("limit_{}", limit.name)
}

/// `$token_question`: what the backend is asked about a request's token; empty where none is looked at.
pub(super) fn token_questions(w: &mut Writer, cases: &[Case<'_>]) {
    w.comment("What the backend is asked about the token (and, of WebSockets, the Origin); empty: nothing.");
    let entries = cases.iter().filter_map(|case| Some((case.name.as_str(), quoted(&question(case)?))));
    w.map("$route", "$route_question", "\"\"", entries);
    w.blank();
    w.comment("A token in the URL ends up in logs and histories: it is refused where tokens are looked at. Each of its parameter's letters may be encoded.");
    let name: String =
        "access_token".bytes().map(|byte| format!("(?:{}|%{})", byte as char, hex(byte))).collect();
    w.map("$args", "$token_in_url", "\"\"", [(format!("~(?:^|&){name}(?:=|&|$)"), "\"&in_url=1\"")]);
}

/// Two digits, in either case.
fn hex(byte: u8) -> String {
    format!("{byte:02x}")
        .chars()
        .map(|digit| match digit {
            'a'..='f' => format!("[{digit}{}]", digit.to_ascii_uppercase()),
            digit => digit.to_string(),
        })
        .collect()
}

fn question(case: &Case<'_>) -> Option<String> {
    let route = case.route;
    let mode = match route.token {
        TokenRule::None => return None,
        TokenRule::Optional => "optional",
        TokenRule::Required => "required",
    };
    let mut question = format!("mode={mode}");
    let mut add = |key: &str, value: &str| question.push_str(&format!("&{key}={}", encoded(value)));
    for role in &route.roles {
        add("admit", role.as_str());
    }
    for ClaimRule { claim, values } in &route.claims {
        values.iter().for_each(|value| add(claim.as_str(), value));
    }
    if route.websocket {
        add("websocket", "1");
        route.origins.iter().for_each(|origin| add("origin", origin));
    }
    Some(question)
}

/// As a query's value (RFC 3986, section 3.4): unreserved characters stay.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Whether a duration is one that nginx can be told, in whole milliseconds.
pub(super) fn ms(duration: Duration) -> String {
    match duration.as_millis() {
        whole if whole % 1000 == 0 => format!("{}s", whole / 1000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(requests: u32, seconds: u64) -> Limit {
        Limit { name: "x".into(), requests, per: Duration::from_secs(seconds), by: LimitKey::Address }
    }

    #[test]
    fn a_limit_is_counted_exactly_or_not_at_all() {
        for (requests, seconds, words) in
            [(10, 60, "10r/m"), (100, 60, "100r/m"), (600, 60, "10r/s"), (5, 1, "5r/s"), (1, 20, "3r/m")]
        {
            assert_eq!(rate(&limit(requests, seconds)).map(|rate| rate.words).as_deref(), Ok(words));
        }
        assert!(rate(&limit(5, 7)).is_err() && rate(&limit(1, 3600)).is_err());
        let by_user = Limit { by: LimitKey::User, ..limit(10, 60) };
        assert!(rate(&by_user).is_err());
    }

    #[test]
    fn who_waits_as_long_as_told_passes() {
        let login = limit(10, 60);
        let rate = rate(&login).expect("a rate");
        // nginx gives back 166 thousandths a second, not 166 and two thirds.
        assert!(rate.is_rounded());
        assert_eq!(rate.wait_seconds(), 7);
    }
}
