//! The files of the demo data: `catalogue.toml` holds what vendors share, `vendors.jsonl` one vendor a line.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::vendors::hours::OpeningHours;

/// Prices are rounded to this many won.
const PRICE_STEP: i64 = 500;

/// A vendor with what it takes from the catalogue.
#[derive(Debug)]
pub(super) struct DemoVendor {
    /// The owner's `sub` at the provider.
    pub(super) owner: String,
    pub(super) owner_name: String,
    pub(super) name: String,
    pub(super) category: String,
    pub(super) summary: String,
    pub(super) address: String,
    pub(super) hours: OpeningHours,
    pub(super) services: Vec<DemoService>,
}

/// A service of a menu.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DemoService {
    pub(super) name: String,
    pub(super) duration_minutes: i64,
    /// The duration, if it isn't given.
    pub(super) step_minutes: Option<i64>,
    pub(super) price: i64,
    pub(super) capacity: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    hours: HashMap<String, OpeningHours>,
    menus: HashMap<String, Menu>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Menu {
    category: String,
    services: Vec<DemoService>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    owner: String,
    owner_name: String,
    name: String,
    address: String,
    menu: String,
    hours: String,
    price_percent: i64,
    summary: String,
}

/// Reads both files.
pub(super) fn read(folder: &Path) -> anyhow::Result<Vec<DemoVendor>> {
    let catalogue: Catalogue = toml::from_str(&read_file(folder, "catalogue.toml")?)
        .with_context(|| format!("{}/catalogue.toml", folder.display()))?;
    let vendors: Vec<DemoVendor> = read_file(folder, "vendors.jsonl")?
        .lines()
        .enumerate()
        .map(|(index, line)| {
            vendor(line, &catalogue)
                .with_context(|| format!("{}/vendors.jsonl:{}", folder.display(), index + 1))
        })
        .collect::<anyhow::Result<_>>()?;
    ensure!(!vendors.is_empty(), "{}/vendors.jsonl holds no vendor", folder.display());
    Ok(vendors)
}

fn read_file(folder: &Path, name: &str) -> anyhow::Result<String> {
    let path = folder.join(name);
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

fn vendor(line: &str, catalogue: &Catalogue) -> anyhow::Result<DemoVendor> {
    let line: Line = serde_json::from_str(line)?;
    let menu = catalogue.menus.get(&line.menu).with_context(|| format!("no menu `{}`", line.menu))?;
    let hours = catalogue.hours.get(&line.hours).with_context(|| format!("no hours `{}`", line.hours))?;
    let mut services = menu.services.clone();
    for service in &mut services {
        service.price = scaled(service.price, line.price_percent);
    }
    Ok(DemoVendor {
        owner: line.owner,
        owner_name: line.owner_name,
        name: line.name,
        category: menu.category.clone(),
        summary: line.summary,
        address: line.address,
        hours: hours.clone(),
        services,
    })
}

fn scaled(price: i64, percent: i64) -> i64 {
    let exact = price.saturating_mul(percent) / 100;
    exact.saturating_add(PRICE_STEP / 2) / PRICE_STEP * PRICE_STEP
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn shipped() -> Vec<DemoVendor> {
        read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/demo"))).expect("the shipped data")
    }

    #[test]
    fn the_shipped_vendors_are_two_hundred_with_names_and_owners_of_their_own() {
        let vendors = shipped();
        let distinct = |of: fn(&DemoVendor) -> &str| vendors.iter().map(of).collect::<HashSet<_>>().len();
        assert_eq!(vendors.len(), 200);
        assert_eq!(distinct(|vendor| &vendor.name), 200);
        assert_eq!(distinct(|vendor| &vendor.summary), 200);
        assert_eq!(distinct(|vendor| &vendor.category), 10);
        for (index, vendor) in vendors.iter().enumerate() {
            assert_eq!(vendor.owner, format!("owner-{:03}", index + 1));
        }
    }

    #[test]
    fn every_shipped_vendor_offers_two_to_four_services_some_for_one_and_some_for_many() {
        let vendors = shipped();
        assert!(vendors.iter().all(|vendor| (2..=4).contains(&vendor.services.len())));
        let services = || vendors.iter().flat_map(|vendor| &vendor.services);
        assert!(services().all(|service| (1..=8).contains(&service.capacity)));
        assert!(services().any(|service| service.capacity == 1));
        assert!(services().any(|service| service.capacity == 8));
        assert!(services().all(|service| service.price % PRICE_STEP == 0));
    }

    #[test]
    fn a_fault_is_said_with_its_line() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("catalogue.toml"), "hours = {}\nmenus = {}\n").expect("written");
        let line = r#"{"owner":"o","owner_name":"o","name":"n","address":"a","menu":"none","hours":"h","price_percent":100,"summary":"s"}"#;
        std::fs::write(folder.path().join("vendors.jsonl"), line).expect("written");
        let fault = format!("{:#}", read(folder.path()).expect_err("there is no such menu"));
        assert!(fault.ends_with("vendors.jsonl:1: no menu `none`"), "{fault}");
    }
}
