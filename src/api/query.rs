//! What a query may say, as the document has it: its names, what must be there, and of what type.

use std::collections::HashSet;

use jsonschema::{Draft, Validator};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::domain::{Details, Error, Result};

/// Said of what only its pattern or its length speaks against: `domain` has better words, where it is asked.
pub(super) const UNLIKE: &str = "is not of the documented form";

/// The parameters of one operation's query.
pub(super) struct Parameters(Vec<Parameter>);

struct Parameter {
    name: String,
    is_required: bool,
    may_repeat: bool,
    description: String,
    takes: Takes,
}

enum Takes {
    Flag,
    Number { least: i128, most: i128 },
    Text(Validator),
}

impl Parameters {
    /// Those of an operation, and `more` that are text.
    pub fn read(operation: &Value, document: &Value, more: Option<&str>) -> Result<Self> {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let described = parameters.filter(|parameter| parameter["in"] == "query").cloned();
        let more = more.map(|name| json!({"name": name, "schema": {"type": "string"}}));
        described.chain(more).map(|parameter| Parameter::read(&parameter, document)).collect::<Result<_>>().map(Self)
    }

    /// What may be there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|parameter| parameter.name.as_str())
    }

    /// Tells all that is wrong with a query. What is of the right type and still wrong only where something else is:
    /// else `domain` tells it.
    pub fn check(&self, query: &str) -> Result<()> {
        let (mut wrong, mut unlike) = (Details::default(), Details::default());
        let mut seen = HashSet::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (raw, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = match decoded(raw) {
                Ok(name) => name,
                Err(why) => {
                    wrong.add(raw, why);
                    continue;
                }
            };
            let Some(parameter) = self.0.iter().find(|parameter| parameter.name == name) else {
                wrong.add(name, "is not a parameter of this operation");
                continue;
            };
            if !seen.insert(&parameter.name) && !parameter.may_repeat {
                wrong.add(name, "is there twice");
                continue;
            }
            match decoded(value) {
                Ok(value) => parameter.check(&value, &mut wrong, &mut unlike),
                Err(why) => wrong.add(name, why),
            }
        }
        for parameter in self.0.iter().filter(|parameter| parameter.is_required && !seen.contains(&parameter.name)) {
            wrong.add(&parameter.name, "is missing");
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.with(unlike).into_error()) }
    }
}

impl Parameter {
    fn read(parameter: &Value, document: &Value) -> Result<Self> {
        let schema = &parameter["schema"];
        let may_repeat = schema["type"] == "array";
        let schema = if may_repeat { &schema["items"] } else { schema };
        let schema =
            schema["$ref"].as_str().and_then(|to| document.pointer(to.trim_start_matches('#'))).unwrap_or(schema);
        let takes = match schema["type"].as_str() {
            Some("boolean") => Takes::Flag,
            Some("integer") => {
                let (least, most) = match schema["format"].as_str() {
                    Some("uint16") => (0, u16::MAX.into()),
                    Some("uint32") => (0, u32::MAX.into()),
                    Some("uint64") => (0, u64::MAX.into()),
                    _ => (i64::MIN.into(), i64::MAX.into()),
                };
                let bound = |name: &str| schema[name].as_f64().map(|bound| bound as i128);
                Takes::Number { least: bound("minimum").unwrap_or(least), most: bound("maximum").unwrap_or(most) }
            }
            _ => {
                let validator = jsonschema::options().with_draft(Draft::Draft4).build(schema);
                Takes::Text(validator.map_err(Error::internal)?)
            }
        };
        Ok(Self {
            name: parameter["name"].as_str().unwrap_or_default().to_owned(),
            is_required: parameter["required"] == true,
            may_repeat,
            description: parameter["description"].as_str().unwrap_or_default().to_owned(),
            takes,
        })
    }

    fn check(&self, value: &str, wrong: &mut Details, unlike: &mut Details) {
        match &self.takes {
            Takes::Flag if !["true", "false", "1", "0"].iter().any(|word| word.eq_ignore_ascii_case(value)) => {
                wrong.add(&self.name, "must be true, false, 1 or 0");
            }
            Takes::Number { least, most } => {
                let is_whole = !value.is_empty() && value.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit());
                let range = format!("must be a whole number from {least} to {most}");
                match value.parse::<i128>() {
                    Ok(number) if (*least..=*most).contains(&number) => {}
                    _ if is_whole => wrong.add(&self.name, range),
                    // It may have been meant as something else, such as a date.
                    _ => wrong.add(&self.name, format!("{range}: {}", self.description.trim_end_matches('.'))),
                }
            }
            Takes::Text(validator) if !validator.is_valid(&json!(value)) => unlike.add(&self.name, UNLIKE),
            Takes::Flag | Takes::Text(_) => {}
        }
    }
}

/// What stands for itself in a query and what is escaped. The framework would take U+FFFD for what is no UTF-8, and so
/// another file's name for the one that was meant.
fn decoded(text: &str) -> Result<String, &'static str> {
    let is_escape = |after: &str| after.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !text.split('%').skip(1).all(is_escape) {
        return Err("has a % that is not followed by two hexadecimal digits");
    }
    let plain = text.replace('+', " ");
    percent_decode_str(&plain).decode_utf8().map(|text| text.into_owned()).map_err(|_| "is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(query: &str) -> Vec<String> {
        let operation = json!({"parameters": [
            {"in": "query", "name": "path", "required": true, "schema": {"type": "string", "pattern": "^/"}},
            {"in": "query", "name": "tail", "schema": {"type": "integer", "format": "uint32", "maximum": 10000.0},
             "description": "The last so many lines."},
            {"in": "query", "name": "follow", "schema": {"type": "boolean"}},
            {"in": "query", "name": "label", "schema": {"type": "array", "items": {"type": "string", "pattern": "="}}},
            {"in": "query", "name": "outcome", "schema": {"$ref": "#/sets/Outcome"}},
            {"in": "path", "name": "name", "schema": {"type": "string"}},
        ]});
        let document = json!({"sets": {"Outcome": {"type": "string", "enum": ["failed"]}}});
        let checked = Parameters::read(&operation, &document, Some("ticket")).unwrap().check(query);
        let details = checked.err().map(|error| error.details).unwrap_or_default();
        details.into_iter().map(|detail| format!("{} {}", detail.field, detail.message)).collect()
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        assert_eq!(told("path=/a&tail=10000&follow=TRUE&ticket=x&outcome=failed"), [""; 0]);
        assert_eq!(told("path=relative"), [""; 0], "that is domain's");
        assert_eq!(told("path=/&label=a=b&label=a%3Dc"), [""; 0]);
        assert_eq!(told("label=a=b&label=a"), ["path is missing", "label is not of the documented form"]);
        assert_eq!(
            told("tail=-1&follow=maybe&name=x&path=rel&outcome=z"),
            [
                "tail must be a whole number from 0 to 10000",
                "follow must be true, false, 1 or 0",
                "name is not a parameter of this operation",
                "path is not of the documented form",
                "outcome is not of the documented form",
            ]
        );
        assert_eq!(told("tail=2025&tail=1&t%61il=x&tail=new"), ["tail is there twice", "path is missing"]);
        assert_eq!(
            told("path=/&tail=2025-01-01"),
            ["tail must be a whole number from 0 to 10000: The last so many lines"]
        );
    }

    #[test]
    fn what_cannot_be_decoded_stands_for_nothing_else() {
        assert_eq!(told("path=/v%FF"), ["path is not UTF-8"]);
        assert_eq!(told("path=/%c3%a4+%2B"), [""; 0]);
        for broken in ["%zz", "%", "%f", "%é", "a%2"] {
            assert_eq!(told(&format!("path=/{broken}")).len(), 1, "{broken}");
        }
        assert_eq!(told("path=/&p%ff=1"), ["p%ff is not UTF-8"]);
    }
}
