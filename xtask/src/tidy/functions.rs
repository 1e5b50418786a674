//! Where functions begin and end, by counting braces in masked code. No parser: good enough for code that rustfmt has
//! laid out, and quick.

use std::ops::Range;

use super::mask::is_word;

/// One function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Bytes from `fn` to its closing brace.
    pub span: Range<usize>,
}

/// All functions that have a body, nested ones included.
pub fn functions(code: &str) -> Vec<Function> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for (start, _) in code.match_indices("fn ") {
        if start > 0 && is_word(bytes[start - 1]) {
            continue;
        }
        let after = start + 3;
        let name: String =
            code[after..].trim_start().chars().take_while(|c| *c == '_' || c.is_alphanumeric()).collect();
        if name.is_empty() {
            continue;
        }
        if let Some(body) = block_after(code, after) {
            found.push(Function { name, span: start..body.end });
        }
    }
    found
}

/// The first block in braces after `from`; `None` when a semicolon comes first. Parentheses and brackets are passed over.
pub fn block_after(code: &str, from: usize) -> Option<Range<usize>> {
    let bytes = code.as_bytes();
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return None,
            b'{' if depth == 0 => return Some(at..block_end(bytes, at)),
            _ => {}
        }
    }
    None
}

fn block_end(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_found() {
        let code = "trait T { fn none(&self) -> [u8; 3]; }\nimpl T { fn one<F: Fn(u8)>(f: F) where F: X { if a { b } } }";
        let found = functions(code);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "one");
        assert_eq!(&code[found[0].span.clone()], "fn one<F: Fn(u8)>(f: F) where F: X { if a { b } }");
    }

    #[test]
    fn function_types_are_not_functions() {
        assert_eq!(functions("type F = fn (u8) -> u8; struct S { f: fn(u8) }"), []);
    }
}
