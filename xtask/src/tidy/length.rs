//! Files and functions that a reader can hold in the head, and a first line that says what a file is for.

use std::collections::BTreeSet;

use super::Violation;
use super::functions::{Function, functions};
use super::source::Source;

/// Longest file, test code aside.
const FILE: usize = 500;

/// Longest function.
const FUNCTION: usize = 60;

/// The comment that excuses a long function, with the reason after it.
const EXCUSE: &str = "// tidy: long because ";

/// Checks the file.
pub fn check(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    if !source.text.starts_with("//!") {
        found.push(Violation::new(
            source.path,
            1,
            "must begin with a `//!` line that says what the file is for",
        ));
    }
    let lines = source.text.lines().count().saturating_sub(test_lines(source));
    if lines > FILE {
        let message = format!("has {lines} lines outside tests, more than {FILE}: split it by what it does");
        found.push(Violation::new(source.path, 0, message));
    }
    for function in functions(&source.code) {
        let (first, last) = (source.line(function.span.start), source.line(function.span.end));
        let lines = last - first + 1;
        if lines > FUNCTION && !source.in_tests(function.span.start) && !excused(source, &function) {
            let name = &function.name;
            let message =
                format!("fn {name} has {lines} lines, more than {FUNCTION}: split it, or write `{EXCUSE}…`");
            found.push(Violation::new(source.path, first, message));
        }
    }
    found
}

fn test_lines(source: &Source) -> usize {
    let lines: BTreeSet<usize> = source
        .tests
        .iter()
        .flat_map(|range| source.line(range.start)..=source.line(range.end.saturating_sub(1)))
        .collect();
    lines.len()
}

/// Whether the comments and attributes right above the function give a reason for its length.
fn excused(source: &Source, function: &Function) -> bool {
    let first = source.line(function.span.start);
    let above: Vec<&str> = source.text.lines().take(first.saturating_sub(1)).collect();
    let near = above.iter().rev().map(|line| line.trim());
    near.take_while(|line| line.starts_with("//") || line.starts_with("#["))
        .any(|line| line.strip_prefix(EXCUSE).is_some_and(|reason| !reason.trim().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).into_iter().map(|v| format!("{} {}", v.line, v.message)).collect()
    }

    fn long_function(above: &str) -> String {
        format!("//! x\n{above}fn long() {{\n{}}}\n", "    work();\n".repeat(60))
    }

    #[test]
    fn a_file_says_what_it_is_for() {
        assert!(messages("a.rs", "use x;\n")[0].starts_with("1 must begin"));
        assert_eq!(messages("a.rs", "//! x\nuse x;\n"), Vec::<String>::new());
        assert_eq!(messages("tests/a.rs", "use x;\n").len(), 1);
    }

    #[test]
    fn long_functions_are_found() {
        assert!(messages("a.rs", &long_function(""))[0].starts_with("2 fn long has 62 lines"));
        assert_eq!(messages("tests/a.rs", &long_function("")), Vec::<String>::new());
        let inside = format!("//! x\n#[cfg(test)]\nmod tests {{\n{}}}\n", &long_function("")[6..]);
        assert_eq!(messages("a.rs", &inside), Vec::<String>::new());
    }

    #[test]
    fn a_reason_excuses_a_long_function() {
        let reason = "/// Doc.\n// tidy: long because it is a table\n#[allow(x)]\n";
        assert_eq!(messages("a.rs", &long_function(reason)), Vec::<String>::new());
        assert_eq!(messages("a.rs", &long_function("// tidy: long because \n")).len(), 1);
        assert_eq!(messages("a.rs", &long_function("// tidy: long because x\n\n")).len(), 1);
    }

    #[test]
    fn long_files_are_found_without_their_tests() {
        let long = format!("//! x\n{}", "use x;\n".repeat(500));
        assert!(messages("a.rs", &long)[0].contains("has 501 lines"));
        let tests =
            format!("//! x\n{}#[cfg(test)]\nmod tests {{\n{}}}\n", "use x;\n".repeat(499), "//\n".repeat(99));
        assert_eq!(messages("a.rs", &tests), Vec::<String>::new());
    }
}
