//! A look at an ONNX file before anything else reads it: what it would make a runtime load from elsewhere, and operators that are
//! not of the standard. It walks the fields of the format (protocol buffers, onnx.proto) and knows no more of them.

/// Why a file is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// It is something else, or was cut off.
    #[error("it is no ONNX model: {0}")]
    NotOnnx(&'static str),
    /// Its weights are in another file.
    #[error("its weights are in another file ({0:?}): only models in one file are taken")]
    External(String),
    /// An operator that the standard does not have.
    #[error("it has an operator of {0:?}: only those of ONNX itself are taken")]
    Operator(String),
}

/// Sets of operators that are the standard's own, and those that runtimes write when they make models smaller.
const DOMAINS: [&str; 3] = ["", "ai.onnx", "com.microsoft"];
/// Graphs within graphs.
const DEEPEST: u32 = 16;

/// Looks at a model.
///
/// # Errors
/// See [`Bad`].
pub fn model(bytes: &[u8]) -> Result<(), Bad> {
    let mut graphs = 0;
    for field in Fields(bytes) {
        match field? {
            // opset_import: domain
            Field { number: 8, value: Value::Bytes(set) } => domain(set, 1)?,
            Field { number: 7, value: Value::Bytes(inner) } => {
                graphs += 1;
                graph(inner, 0)?;
            }
            // Functions of its own are made of operators of the standard, or have domains of their own.
            Field { number: 25, value: Value::Bytes(function) } => nodes(function, 7, 0)?,
            _ => {}
        }
    }
    if graphs == 1 { Ok(()) } else { Err(Bad::NotOnnx("it has no graph")) }
}

fn graph(bytes: &[u8], depth: u32) -> Result<(), Bad> {
    nodes(bytes, 1, depth)?;
    for field in Fields(bytes) {
        if let Field { number: 5, value: Value::Bytes(weights) } = field? {
            tensor(weights)?;
        }
    }
    Ok(())
}

/// Nodes in the field of this number.
fn nodes(bytes: &[u8], number: u64, depth: u32) -> Result<(), Bad> {
    if depth > DEEPEST {
        return Err(Bad::NotOnnx("its graphs are within one another too deeply"));
    }
    for field in Fields(bytes) {
        let Field { number: found, value: Value::Bytes(node) } = field? else { continue };
        if found != number {
            continue;
        }
        domain(node, 7)?;
        for field in Fields(node) {
            if let Field { number: 5, value: Value::Bytes(attribute) } = field? {
                attributes(attribute, depth)?;
            }
        }
    }
    Ok(())
}

/// Graphs and tensors in an attribute.
fn attributes(bytes: &[u8], depth: u32) -> Result<(), Bad> {
    for field in Fields(bytes) {
        match field? {
            Field { number: 6 | 11, value: Value::Bytes(inner) } => graph(inner, depth + 1)?,
            Field { number: 5 | 10, value: Value::Bytes(weights) } => tensor(weights)?,
            _ => {}
        }
    }
    Ok(())
}

fn tensor(bytes: &[u8]) -> Result<(), Bad> {
    for field in Fields(bytes) {
        match field? {
            Field { number: 13, value: Value::Bytes(place) } => {
                return Err(Bad::External(text(place, 2)?));
            }
            Field { number: 14, value: Value::Number(1) } => return Err(Bad::External(String::new())),
            _ => {}
        }
    }
    Ok(())
}

fn domain(bytes: &[u8], number: u64) -> Result<(), Bad> {
    let name = text(bytes, number)?;
    if DOMAINS.contains(&name.as_str()) { Ok(()) } else { Err(Bad::Operator(name)) }
}

/// The text in the field of this number; empty where there is none.
fn text(bytes: &[u8], number: u64) -> Result<String, Bad> {
    let mut found = String::new();
    for field in Fields(bytes) {
        let field = field?;
        if let (true, Value::Bytes(text)) = (field.number == number, field.value) {
            found = String::from_utf8_lossy(text).chars().take(200).collect();
        }
    }
    Ok(found)
}

struct Field<'a> {
    number: u64,
    value: Value<'a>,
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of four or eight bytes.
    Fixed,
}

/// The fields of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Result<u64, Bad> {
        let mut value = 0;
        for place in 0..10 {
            let (byte, rest) = self.0.split_first().ok_or(Bad::NotOnnx("it was cut off"))?;
            self.0 = rest;
            value |= u64::from(byte & 0x7F) << (7 * place).min(63);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Bad::NotOnnx("a number has no end"))
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Bad> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Bad::NotOnnx("it was cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<Field<'a>, Bad> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.number()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Bad::NotOnnx("a field is of no known kind")),
        };
        Ok(Field { number: tag >> 3, value })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPSCALE: &[u8] = include_bytes!("../../../models/kinora-upscale2.onnx");
    const INT8: &[u8] = include_bytes!("../../../models/kinora-denoise3-int8.onnx");

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
    }

    #[test]
    fn ours_are_taken() {
        assert_eq!(model(UPSCALE), Ok(()));
        assert_eq!(model(INT8), Ok(()));
    }

    #[test]
    fn what_is_cut_off_or_something_else() {
        assert!(matches!(model(b""), Err(Bad::NotOnnx(_))));
        assert!(matches!(model(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), Err(Bad::NotOnnx(_))));
        for length in [1, 10, 1_000, UPSCALE.len() / 2] {
            assert!(model(&UPSCALE[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn weights_elsewhere_and_operators_of_strangers() {
        // graph { initializer { external_data { key: "location" value: "/etc/passwd" } } }
        let place = [field(1, b"location"), field(2, b"/etc/passwd")].concat();
        let outside = field(7, &field(5, &field(13, &place)));
        assert_eq!(model(&outside), Err(Bad::External("/etc/passwd".to_owned())));
        let node = field(1, &[field(4, b"Evil"), field(7, b"org.evil")].concat());
        assert_eq!(model(&field(7, &node)), Err(Bad::Operator("org.evil".to_owned())));
        // The same in the body of a loop.
        let attribute = field(5, &field(6, &node));
        let body = field(7, &field(1, &[field(4, b"Loop"), attribute].concat()));
        assert_eq!(model(&body), Err(Bad::Operator("org.evil".to_owned())));
        let plain = field(7, &field(1, &field(4, b"Relu")));
        assert_eq!(model(&plain), Ok(()));
    }
}
