//! Shapes shared by several operations.

use std::borrow::Cow;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, Type};
use serde_json::{Value, json};

use crate::domain::{CommandLine, Words};

/// A command: one string, or an array of words.
#[derive(Debug)]
pub struct Command(Value);

impl Command {
    /// What it says, or why it says nothing.
    pub fn parse(self) -> Result<CommandLine, String> {
        match self.0 {
            Value::String(text) => CommandLine::parse_text(&text),
            Value::Array(words) => {
                let words = words.into_iter().map(|word| word.as_str().map(str::to_owned));
                let words: Option<Vec<String>> = words.collect();
                Words::parse(words.ok_or("must be an array of strings")?).map(CommandLine::Words)
            }
            _ => Err("must be a string or an array of strings".into()),
        }
    }
}

impl Type for Command {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "Command".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let inline = |schema| MetaSchemaRef::Inline(Box::new(schema));
        let words = MetaSchema {
            items: Some(Box::new(inline(MetaSchema::new("string")))),
            min_items: Some(1),
            ..MetaSchema::new("array")
        };
        inline(MetaSchema { one_of: vec![inline(MetaSchema::new("string")), inline(words)], ..MetaSchema::ANY })
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for Command {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        value.map(Self).ok_or_else(ParseError::expected_input)
    }
}

impl poem_openapi::types::ToJSON for Command {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.clone())
    }
}

impl From<&str> for Command {
    fn from(text: &str) -> Self {
        Self(json!(text))
    }
}

/// A successful answer: `success` and one named thing, with an example for the document.
macro_rules! answer {
    ($(#[$doc:meta])* $vis:vis $name:ident { $field:ident: $type:ty } example $example:expr) => {
        $(#[$doc])*
        #[derive(poem_openapi::Object)]
        #[oai(example)]
        $vis struct $name {
            /// Always true.
            success: bool,
            $(#[$doc])*
            $field: $type,
        }

        impl $name {
            $vis fn of($field: $type) -> poem_openapi::payload::Json<Self> {
                poem_openapi::payload::Json(Self { success: true, $field })
            }
        }

        impl poem_openapi::types::Example for $name {
            fn example() -> Self {
                Self { success: true, $field: $example }
            }
        }
    };
}
pub(in crate::api) use answer;
