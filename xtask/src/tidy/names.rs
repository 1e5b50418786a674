//! Names that say nothing about what is inside.

use super::Violation;
use super::source::Source;

const EMPTY: [&str; 6] = ["utils", "util", "helpers", "helper", "common", "misc"];

/// Checks a path and, through it, the name of a file, folder, module or crate.
pub fn check_path(path: &str) -> Vec<Violation> {
    let says_nothing = |part: &str| {
        let stem = part.split('.').next().unwrap_or(part);
        says_nothing(stem.strip_prefix("kinora-").unwrap_or(stem))
    };
    match path.split('/').find(|part| says_nothing(part)) {
        Some(part) => {
            vec![Violation::new(path, 0, format!("`{part}` says nothing: name it after what it does"))]
        }
        None => Vec::new(),
    }
}

/// Checks modules that are written inside a file.
pub fn check_modules(source: &Source) -> Vec<Violation> {
    let named = source.find("mod").into_iter().filter_map(|offset| {
        let name: String = source.code[offset + 3..]
            .trim_start()
            .chars()
            .take_while(|c| *c == '_' || c.is_alphanumeric())
            .collect();
        says_nothing(&name).then_some((offset, name))
    });
    named
        .map(|(offset, name)| {
            let message = format!("`mod {name}` says nothing: name it after what it does");
            Violation::new(source.path, source.line(offset), message)
        })
        .collect()
}

fn says_nothing(name: &str) -> bool {
    EMPTY.contains(&name.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_names_are_found() {
        for (path, expected) in [
            ("crates/hub/src/utils.rs", 1),
            ("crates/hub/src/helpers/x.rs", 1),
            ("crates/kinora-common/Cargo.toml", 1),
            ("crates/a/tests/common/mod.rs", 1),
            ("web/src/util.test.ts", 1),
            ("crates/hub/src/commons_licence.rs", 0),
            ("crates/hub/src/lease.rs", 0),
        ] {
            assert_eq!(check_path(path).len(), expected, "{path}");
        }
    }

    #[test]
    fn empty_module_names_are_found() {
        let source = Source::new("a.rs", "mod lease;\nmod misc { }\n// mod util\npub mod helper;\n");
        let lines: Vec<usize> = check_modules(&source).iter().map(|v| v.line).collect();
        assert_eq!(lines, [2, 4]);
    }
}
