//! Licences, banned crates and sources of all dependencies: by cargo-deny when it is here, otherwise by a smaller check
//! of the same `deny.toml`. Security advisories are left out, because they change without any change here; ask
//! `cargo deny check advisories` for them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use toml::{Table, Value};

use crate::metadata::{self, Package};
use crate::{process, setup};

mod spdx;

const CRATES_IO: [&str; 2] =
    ["registry+https://github.com/rust-lang/crates.io-index", "sparse+https://index.crates.io/"];

/// Runs it.
pub fn run(install_deny: bool) -> Result<()> {
    let probe = ["deny", "--version"];
    if install_deny && let Err(error) = setup::cargo_tool("cargo-deny", &probe) {
        eprintln!("licences: cargo-deny cannot be built here: {error:#}");
    }
    if process::works("cargo", &probe) {
        let words = ["deny", "--log-level", "error", "check", "licenses", "bans", "sources"];
        return process::run(process::command("cargo", words).current_dir(metadata::root()));
    }
    eprintln!(
        "licences: cargo-deny is not installed (`cargo xtask setup --dev` does it); using the built-in check"
    );
    built_in()
}

fn built_in() -> Result<()> {
    let text =
        std::fs::read_to_string(metadata::root().join("deny.toml")).context("cannot read deny.toml")?;
    let rules = Rules::parse(&text)?;
    let packages = metadata::resolved()?.packages;
    let wrong = check(&packages, &rules);
    for (name, versions) in duplicates(&packages) {
        eprintln!("licences: note: {name} is built in {} versions: {}", versions.len(), versions.join(", "));
    }
    for line in &wrong {
        eprintln!("licences: {line}");
    }
    match wrong.len() {
        0 => {
            eprintln!("licences: {} packages are fine", packages.len());
            Ok(())
        }
        count => bail!("{count} packages break the rules in deny.toml"),
    }
}

/// What deny.toml asks for, as far as this check knows it.
#[derive(Debug, Default, PartialEq)]
struct Rules {
    allow: Vec<String>,
    exceptions: BTreeMap<String, Vec<String>>,
    banned: Vec<String>,
}

impl Rules {
    fn parse(text: &str) -> Result<Self> {
        let table: Table = text.parse().context("deny.toml is not TOML")?;
        let licences = table.get("licenses").context("deny.toml has no [licenses]")?;
        let mut exceptions = BTreeMap::new();
        for exception in list(licences.get("exceptions")) {
            if let Some(name) = crate_name(exception) {
                exceptions.insert(name, strings(exception.get("allow")));
            }
        }
        let banned = list(table.get("bans").and_then(|bans| bans.get("deny")));
        Ok(Self {
            allow: strings(licences.get("allow")),
            exceptions,
            banned: banned.iter().filter_map(crate_name).collect(),
        })
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn strings(value: Option<&Value>) -> Vec<String> {
    list(value).iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// cargo-deny takes `"name"`, `{ crate = "name@1" }` and `{ name = "name" }`.
fn crate_name(value: &Value) -> Option<String> {
    let text =
        value.as_str().or_else(|| value.get("crate")?.as_str()).or_else(|| value.get("name")?.as_str())?;
    Some(text.split(['@', ':']).next().unwrap_or(text).to_owned())
}

fn check(packages: &[Package], rules: &Rules) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages {
        let id = format!("{} {}", package.name, package.version);
        if rules.banned.contains(&package.name) {
            wrong.push(format!("{id} is banned"));
        }
        if let Some(source) = &package.source
            && !CRATES_IO.contains(&source.as_str())
        {
            wrong.push(format!("{id} comes from {source}, not from crates.io"));
        }
        let extra = rules.exceptions.get(&package.name);
        let allowed = |name: &str| {
            rules.allow.iter().chain(extra.into_iter().flatten()).any(|one| one.eq_ignore_ascii_case(name))
        };
        match package.licence.as_deref().map(|text| (text, spdx::holds(text, &allowed))) {
            None => wrong.push(format!("{id} names no licence")),
            Some((_, Ok(true))) => {}
            Some((text, Ok(false))) => {
                wrong.push(format!("{id} has the licence {text}, which is not allowed"))
            }
            Some((text, Err(why))) => wrong.push(format!("{id} has the licence {text:?}: {why}")),
        }
    }
    wrong
}

fn duplicates(packages: &[Package]) -> Vec<(String, Vec<String>)> {
    let mut versions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(package.version.clone());
    }
    let twice = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
    twice.map(|(name, versions)| (name.to_owned(), versions)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0"]
        exceptions = [{ crate = "odd", allow = ["Zlib"] }]
        [bans]
        deny = [{ crate = "openssl-sys@0.9" }, "native-tls"]
    "#;

    fn package(name: &str, licence: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            source: Some(CRATES_IO[0].to_owned()),
            licence: licence.map(str::to_owned),
            dependencies: Vec::new(),
        }
    }

    fn wrong(package: Package) -> Vec<String> {
        check(&[package], &Rules::parse(DENY).expect("rules"))
    }

    #[test]
    fn what_is_allowed_passes() {
        assert_eq!(wrong(package("serde", Some("MIT OR Apache-2.0"))), Vec::<String>::new());
        assert_eq!(wrong(package("odd", Some("Zlib"))), Vec::<String>::new());
    }

    #[test]
    fn each_rule_fires() {
        assert!(wrong(package("a", Some("GPL-3.0")))[0].contains("not allowed"));
        assert!(wrong(package("a", Some("Zlib")))[0].contains("not allowed"));
        assert!(wrong(package("a", None))[0].contains("no licence"));
        assert!(wrong(package("a", Some("MIT OR (")))[0].contains("expected"));
        assert!(wrong(package("openssl-sys", Some("MIT")))[0].contains("banned"));
        assert!(wrong(package("native-tls", Some("MIT")))[0].contains("banned"));
        let git =
            Package { source: Some("git+https://example.org/x".to_owned()), ..package("a", Some("MIT")) };
        assert!(wrong(git)[0].contains("not from crates.io"));
    }

    #[test]
    fn two_versions_of_one_crate_are_told() {
        let other = Package { version: "2.0.0".to_owned(), ..package("a", None) };
        let found = duplicates(&[package("a", None), package("b", None), other]);
        assert_eq!(found, [("a".to_owned(), vec!["1.0.0".to_owned(), "2.0.0".to_owned()])]);
    }
}
