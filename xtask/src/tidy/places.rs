//! What may be done in one place only: reading the environment, spawning programs, speaking SQL. And what may be done
//! nowhere.

use super::Violation;
use super::source::Source;

/// Checks the file.
pub fn check(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut report = |offsets: Vec<usize>, message: &str| {
        found.extend(offsets.into_iter().map(|at| Violation::new(source.path, source.line(at), message)));
    };
    let path = source.path;
    let product = |offset: &usize| !is_around(path) && !source.in_tests(*offset);
    // A process that confines itself becomes another program, with what is left of its environment.
    let becomes = path.starts_with("crates/sandbox/src/confine");
    if !path.starts_with("crates/kinora/src/config") && !path.ends_with("build.rs") && !becomes {
        let offsets = environment(source).into_iter().filter(product).collect();
        report(offsets, "only crates/kinora/src/config may read the environment and the arguments");
    }
    // What an operator names is no part of the work on media.
    let named = path == "crates/kinora/src/program.rs";
    if !path.starts_with("crates/media/src/process") && !becomes && !named {
        let offsets = spawning(source).into_iter().filter(product).collect();
        report(
            offsets,
            "only crates/media/src/process may spawn programs, and crates/kinora/src/program.rs what an operator names",
        );
    }
    if !path.starts_with("crates/store/") {
        report(source.find("rusqlite"), "only crates/store may speak SQL");
    }
    for name in ["todo!", "unimplemented!", "dbg!"] {
        report(source.find(name), &format!("`{name}` must not be left behind"));
    }
    found
}

/// Code around the product, not of it: it may read the environment and spawn programs, as tests may.
fn is_around(path: &str) -> bool {
    ["crates/testkit/", "crates/kinora/examples/", "xtask/"].iter().any(|prefix| path.starts_with(prefix))
}

fn environment(source: &Source) -> Vec<usize> {
    const NAMES: [&str; 8] = ["var", "var_os", "vars", "vars_os", "args", "args_os", "set_var", "remove_var"];
    let direct = NAMES.iter().flat_map(|name| source.find(&format!("env::{name}")));
    direct.chain(imported(source, "env::{", &NAMES)).collect()
}

fn spawning(source: &Source) -> Vec<usize> {
    let mut offsets = source.find("process::Command");
    offsets.extend(imported(source, "process::{", &["Command"]));
    let made = source.find("Command::new").into_iter();
    // clap has a type of the same name; `process::Command::new` was found above.
    offsets.extend(
        made.filter(|at| !["clap::", "process::"].iter().any(|path| source.code[..*at].ends_with(path))),
    );
    offsets
}

/// Places like `use std::env::{var, args};` that bring in one of the names.
fn imported(source: &Source, opening: &str, names: &[&str]) -> Vec<usize> {
    let holds = |start: &usize| {
        let rest = &source.code[start + opening.len()..];
        let list = &rest[..rest.find('}').unwrap_or(rest.len())];
        list.split(',').any(|item| item.split_whitespace().next().is_some_and(|name| names.contains(&name)))
    };
    source.find(opening).into_iter().filter(holds).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Source::new(path, text)).len()
    }

    #[test]
    fn the_environment_is_read_by_config_alone() {
        for text in
            ["std::env::var(\"X\")", "env::args()", "use std::env::{self, var_os};", "env::set_var(a, b)"]
        {
            assert_eq!(count("crates/hub/src/a.rs", text), 1, "{text}");
            assert_eq!(count("crates/kinora/src/config.rs", text), 0, "{text}");
            assert_eq!(count("crates/kinora/src/config/file.rs", text), 0, "{text}");
            assert_eq!(count("crates/hub/tests/a.rs", text), 0, "{text}");
            assert_eq!(count("crates/testkit/src/a.rs", text), 0, "{text}");
        }
        for text in
            ["env!(\"X\")", "std::env::temp_dir()", "env::variable", "// env::var", "use std::env::{consts};"]
        {
            assert_eq!(count("crates/hub/src/a.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn programs_are_spawned_by_process_alone() {
        for text in [
            "use std::process::Command;",
            "use tokio::process::{Child, Command};",
            "Command::new(\"x\")",
            "std::process::Command::new(\"x\")",
        ] {
            assert_eq!(count("crates/media/src/probe.rs", text), 1, "{text}");
            assert_eq!(count("crates/media/src/process.rs", text), 0, "{text}");
            assert_eq!(count("crates/kinora/tests/cli.rs", text), 0, "{text}");
            assert_eq!(count("crates/testkit/src/clip.rs", text), 0, "{text}");
            assert_eq!(count("a.rs", &format!("#[cfg(test)]\nmod tests {{ {text} }}")), 0, "{text}");
        }
        for text in
            ["clap::Command::new(\"x\")", "use std::process::{ExitCode, Stdio};", "NodeCommand::new()"]
        {
            assert_eq!(count("crates/kinora/src/main.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn sql_is_spoken_by_store_alone() {
        assert_eq!(count("crates/hub/src/a.rs", "use rusqlite::Connection;"), 1);
        assert_eq!(count("crates/store/src/a.rs", "use rusqlite::Connection;"), 0);
    }

    #[test]
    fn nothing_is_left_behind() {
        assert_eq!(count("crates/hub/tests/a.rs", "todo!(); unimplemented!(\"x\"); dbg!(1);"), 3);
        assert_eq!(count("crates/hub/src/a.rs", "my_todo!(); // todo!\nassert!(x != \"dbg!\")"), 0);
    }
}
