//! Schemas of what is text on the wire: for the OpenAPI document.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::class::Tags;
use crate::id::Digest;
use crate::rational::Rational;
use crate::recipe::Scale;

fn text(description: &str, pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description)).pattern(Some(pattern))
}

macro_rules! text {
    ($type:ty, $name:literal, $description:literal, $pattern:literal) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                text($description, $pattern).into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                $name.into()
            }
        }
    };
}

text!(Digest, "Digest", "BLAKE3 of the content, in hexadecimal digits", "^[0-9a-f]{64}$");
text!(Rational, "Rational", "A ratio of whole numbers: 25, 30000/1001", "^-?[0-9]+(/[0-9]+|\\.[0-9]+)?$");
text!(
    Scale,
    "Scale",
    "WIDTHxHEIGHT, a height, or maxHEIGHT for sources that are higher",
    "^([0-9]+[xX][0-9]+|(max)?[0-9]+p?)$"
);

impl PartialSchema for Tags {
    fn schema() -> RefOr<Schema> {
        let tag = text("A tag", "^[A-Za-z0-9._-]{1,32}$");
        ArrayBuilder::new()
            .items(tag)
            .description(Some("Words that nodes carry and jobs ask for"))
            .max_items(Some(16))
            .into()
    }
}

impl ToSchema for Tags {
    fn name() -> Cow<'static, str> {
        "Tags".into()
    }
}
