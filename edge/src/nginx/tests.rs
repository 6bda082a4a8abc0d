use std::path::Path;

use super::*;
use crate::config;

fn policy(change: impl FnOnce(String) -> String) -> Policy {
    let text = config_text::expand(include_str!("../../../config/edge.toml"), |_| None).expect("defaults");
    config::parse(&change(text), Path::new("config")).expect("a valid policy")
}

fn places() -> Places {
    Places { root: None, state: "var/nginx".into() }
}

#[test]
fn the_shipped_policy_can_be_expressed() {
    let rendered = render(&policy(|text| text), &places()).expect("expressed");
    assert!(!rendered.config.contains(env!("CARGO_MANIFEST_DIR")), "no path of this machine");
}

#[test]
fn a_guard_that_cannot_be_expressed_is_an_error() {
    let by_user = policy(|text| {
        let text = text.replace(
            "[limits.admin]",
            "[limits.person]\nrequests = 5\nseconds = 60\nby = \"user\"\n\n[limits.admin]",
        );
        text.replace("limits = [\"admin\"]", "limits = [\"admin\", \"person\"]")
    });
    let faults = render(&by_user, &places()).expect_err("a fault");
    assert!(faults.to_string().starts_with("stock nginx can't express the limit `person`: "), "{faults}");
    let uneven = policy(|text| text.replace("requests = 10\nseconds = 60", "requests = 5\nseconds = 7"));
    let faults = render(&uneven, &places()).expect_err("a fault");
    assert!(faults.to_string().contains("the limit `login`: 5 in 7 s"), "{faults}");
    let encoded = policy(|text| format!("{text}\n[[routes]]\nexact = \"/a%20b\"\nupstream = \"backend\"\n"));
    assert!(render(&encoded, &places()).is_err());
}
