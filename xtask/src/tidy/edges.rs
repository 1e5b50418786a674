//! Which crate may depend on which. What is absent matters as much: the hub cannot open media, because it does not
//! depend on the crate that can.

use super::Violation;
use crate::metadata::{Kind, Package};

/// Each crate with all it may depend on, without the `kinora-` in front.
const EDGES: [(&str, &[&str]); 16] = [
    ("protocol", &[]),
    ("plan", &["protocol"]),
    ("access", &["protocol"]),
    ("tls", &["access"]),
    ("sandbox", &[]),
    ("vault", &[]),
    ("ai", &["protocol"]),
    ("vision", &["protocol"]),
    ("media", &["plan", "protocol", "sandbox", "vision"]),
    ("jobs", &["plan", "protocol"]),
    ("store", &["protocol", "jobs"]),
    ("hub", &["protocol", "access", "plan", "jobs", "store", "tls", "vault"]),
    ("worker", &["protocol", "access", "ai", "plan", "media", "vision"]),
    (
        "kinora",
        &[
            "access", "ai", "hub", "jobs", "worker", "protocol", "plan", "media", "sandbox", "store", "tls",
            "vault", "vision",
        ],
    ),
    ("testkit", &["plan", "protocol"]),
    ("xtask", &[]),
];

/// Crates that only tests may depend on.
const FOR_TESTS: [&str; 1] = ["testkit"];

/// Crates of others that one of ours keeps to itself.
const KEPT: [(&str, &str); 6] = [
    ("ort", "ai"),
    ("prometheus-client", "hub"),
    ("opentelemetry-proto", "hub"),
    ("rusqlite", "store"),
    ("jsonwebtoken", "access"),
    ("argon2", "access"),
];

/// Checks the workspace's packages.
pub fn check(packages: &[Package]) -> Vec<Violation> {
    packages.iter().flat_map(|package| check_one(package, packages)).collect()
}

fn check_one(package: &Package, packages: &[Package]) -> Vec<Violation> {
    let name = short(&package.name);
    let path =
        if name == "xtask" { "xtask/Cargo.toml".to_owned() } else { format!("crates/{name}/Cargo.toml") };
    let Some((_, allowed)) = EDGES.iter().find(|(from, _)| *from == name) else {
        let message = format!("{} has no line in the table of crate edges", package.name);
        return vec![Violation::new(&path, 0, message)];
    };
    let mut found = Vec::new();
    for dependency in &package.dependencies {
        let other = short(&dependency.name);
        let ours = packages.iter().any(|package| package.name == dependency.name);
        let message = if ours && FOR_TESTS.contains(&other) {
            (dependency.kind != Kind::Dev).then(|| format!("{other} may only be a dev-dependency"))
        } else if ours {
            (!allowed.contains(&other)).then(|| format!("{name} must not depend on {other}"))
        } else {
            let owner = KEPT.iter().find(|(kept, owner)| *kept == dependency.name && *owner != name);
            owner.map(|(kept, owner)| format!("only {owner} may depend on {kept}"))
        };
        found.extend(message.map(|message| Violation::new(&path, 0, message)));
    }
    found
}

fn short(name: &str) -> &str {
    name.strip_prefix("kinora-").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn package(name: &str, dependencies: &[(&str, Kind)]) -> Package {
        let dependency = |(name, kind): &(&str, Kind)| Dependency { name: (*name).to_owned(), kind: *kind };
        Package {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            source: None,
            licence: None,
            dependencies: dependencies.iter().map(dependency).collect(),
        }
    }

    fn messages(name: &str, dependencies: &[(&str, Kind)]) -> Vec<String> {
        let others =
            ["kinora-plan", "kinora-protocol", "kinora-media", "kinora-testkit"].map(|n| package(n, &[]));
        let mut packages = vec![package(name, dependencies)];
        packages.extend(others.into_iter().filter(|other| other.name != name));
        check(&packages).into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn edges_of_the_table_pass() {
        let edges = [("kinora-plan", Kind::Normal), ("serde", Kind::Normal), ("kinora-testkit", Kind::Dev)];
        assert_eq!(messages("kinora-hub", &edges), Vec::<String>::new());
        assert_eq!(messages("kinora-store", &[("rusqlite", Kind::Normal)]), Vec::<String>::new());
    }

    #[test]
    fn other_edges_are_found() {
        for (from, to, kind) in [
            ("kinora-hub", "kinora-media", Kind::Normal),
            ("kinora-hub", "kinora-media", Kind::Dev),
            ("kinora-protocol", "kinora-plan", Kind::Build),
            ("xtask", "kinora-protocol", Kind::Normal),
        ] {
            assert!(messages(from, &[(to, kind)])[0].contains("must not depend on"), "{from} {to}");
        }
        assert!(messages("kinora-hub", &[("kinora-testkit", Kind::Normal)])[0].contains("dev-dependency"));
        assert!(messages("kinora-hub", &[("rusqlite", Kind::Dev)])[0].contains("only store"));
        assert!(messages("kinora-odd", &[])[0].contains("no line"));
    }

    #[test]
    fn no_edge_leads_back() {
        let position = |name: &str| EDGES.iter().position(|(from, _)| *from == name);
        for (from, allowed) in EDGES {
            assert!(allowed.iter().all(|to| position(to) < position(from)), "{from}");
        }
    }
}
