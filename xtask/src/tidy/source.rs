//! One Rust file as the rules see it: its text, its code without comments and literals, and which lines are test code.

use std::ops::Range;

use super::functions::block_after;
use super::mask::{is_word, mask};

/// One file.
pub struct Source<'a> {
    /// From the root, with `/`.
    pub path: &'a str,
    /// As it is.
    pub text: &'a str,
    /// With comments and literals blanked.
    pub code: String,
    /// Byte ranges of items under `#[cfg(test)]`; the whole file when it is one of tests.
    pub tests: Vec<Range<usize>>,
}

impl<'a> Source<'a> {
    /// Reads it.
    pub fn new(path: &'a str, text: &'a str) -> Self {
        let code = mask(text);
        let tests =
            if is_test_path(path) { std::iter::once(0..code.len()).collect() } else { test_items(&code) };
        Self { path, text, code, tests }
    }

    /// Whether the byte lies in test code.
    pub fn in_tests(&self, offset: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&offset))
    }

    /// Line of a byte, from 1.
    pub fn line(&self, offset: usize) -> usize {
        line_of(&self.code, offset)
    }

    /// Where the words stand in the code, not as part of a longer identifier.
    pub fn find(&self, words: &str) -> Vec<usize> {
        let bytes = self.code.as_bytes();
        let starts_word = words.bytes().next().is_some_and(is_word);
        let ends_word = words.bytes().last().is_some_and(is_word);
        let found = self.code.match_indices(words).map(|(offset, _)| offset);
        found
            .filter(|offset| !starts_word || *offset == 0 || !is_word(bytes[offset - 1]))
            .filter(|offset| !ends_word || !bytes.get(offset + words.len()).copied().is_some_and(is_word))
            .collect()
    }
}

/// Line of a byte, from 1.
pub fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn is_test_path(path: &str) -> bool {
    let mut parts = path.trim_end_matches(".rs").split('/');
    parts.any(|part| part == "tests" || part == "benches" || part.ends_with("_tests"))
}

fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for mark in ["#[cfg(test)]", "#[cfg(all(test"] {
        for (start, _) in code.match_indices(mark) {
            if found.iter().any(|range| range.contains(&start)) {
                continue;
            }
            let item = start + code[start..].find(']').map_or(mark.len(), |end| end + 1);
            let end = block_after(code, item).map_or_else(|| statement_end(code, item), |block| block.end);
            found.push(start..end);
        }
    }
    found
}

fn statement_end(code: &str, from: usize) -> usize {
    code[from..].find(';').map_or(code.len(), |end| from + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_modules_are_known_by_their_attribute() {
        let text = "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let source = Source::new("src/lib.rs", text);
        let inside = |word| source.in_tests(source.find(word)[0]);
        assert_eq!((inside("a"), inside("b"), inside("c")), (false, true, false));
    }

    #[test]
    fn a_test_module_in_another_file_ends_at_its_semicolon() {
        let source = Source::new("src/lib.rs", "#[cfg(test)]\nmod tests;\nfn c() { }\n");
        assert!(!source.in_tests(source.find("c")[0]));
    }

    #[test]
    fn test_files_are_test_code_altogether() {
        for (path, expected) in [
            ("crates/a/tests/x.rs", true),
            ("crates/a/src/x/tests.rs", true),
            ("crates/a/src/x/seam_tests.rs", true),
            ("crates/a/src/test.rs", false),
            ("crates/a/src/contests.rs", false),
        ] {
            assert_eq!(Source::new(path, "fn a() {}").in_tests(3), expected, "{path}");
        }
    }

    #[test]
    fn words_are_found_whole_and_in_code_only() {
        let source =
            Source::new("a.rs", "my_env::var; env::var(1); env::variable; // env::var\n\"env::var\"");
        assert_eq!(source.find("env::var"), [13]);
    }
}
