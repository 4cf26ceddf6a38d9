//! What a request makes its answer depend on: `If-Match`, `If-None-Match`, `If-Range` and `Range` (RFC 9110, 13 and 14).

/// `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags {
    /// Whatever there is.
    Any,
    /// One of these, quoted.
    These(Vec<String>),
}

/// What is to be sent of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// From this byte, so many.
    Range {
        /// First byte.
        from: u64,
        /// At least one.
        length: u64,
    },
    /// Nothing of it is where the range is.
    Outside,
}

impl Tags {
    /// Reads the header; a list may be empty (RFC 9110, 13.1.1). A weak tag is taken for what it is: equal to no strong one, as all of ours are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "must be * or a list of entity tags".to_owned();
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let quoted = rest.strip_prefix("W/").unwrap_or(rest);
            let inner = quoted.strip_prefix('"').ok_or_else(wrong)?;
            let end = inner.find('"').ok_or_else(wrong)?;
            let length = rest.len() - inner.len() + end + 1;
            tags.push(rest[..length].to_owned());
            rest = rest[length..].trim_start();
            match rest.strip_prefix(',') {
                Some(more) => rest = more.trim_start(),
                None if rest.is_empty() => {}
                None => return Err(wrong()),
            }
        }
        Ok(Self::These(tags))
    }

    /// Whether this is one of them, or anything is.
    pub fn contain(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            // A cache may hold ours as a weak one.
            Self::These(tags) => tags.iter().any(|one| one.strip_prefix("W/").unwrap_or(one) == tag),
        }
    }

    /// The same where only byte for byte equality counts.
    pub fn contain_strongly(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|one| one == tag),
        }
    }
}

impl Part {
    /// What `Range` asks for of so many bytes. A header that is not one range of bytes is as good as none, as the RFC has
    /// it: the whole is always a right answer.
    pub fn of(range: Option<&str>, size: u64) -> Self {
        let Some(spec) = range.and_then(|text| text.trim().strip_prefix("bytes=")) else { return Self::Whole };
        let Some((first, last)) = spec.trim().split_once('-') else { return Self::Whole };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            // Beyond any file is beyond this one.
            digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
        };
        match (number(first.trim()), number(last.trim())) {
            (None, Some(suffix)) if first.trim().is_empty() => {
                let length = suffix.min(size);
                if length == 0 { Self::Outside } else { Self::Range { from: size - length, length } }
            }
            (Some(from), None) if last.trim().is_empty() => Self::within(from, u64::MAX, size),
            (Some(from), Some(to)) if from <= to => Self::within(from, to, size),
            _ => Self::Whole,
        }
    }

    fn within(from: u64, to: u64, size: u64) -> Self {
        if from >= size {
            return Self::Outside;
        }
        Self::Range { from, length: to.min(size - 1) - from + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_are_read() {
        assert_eq!(Tags::parse(" * "), Ok(Tags::Any));
        let these = Tags::parse("\"a\", W/\"b,c\" ,\"\"").unwrap();
        assert_eq!(these, Tags::These(vec!["\"a\"".into(), "W/\"b,c\"".into(), "\"\"".into()]));
        assert!(these.contain("\"a\"") && these.contain("\"b,c\"") && !these.contain("\"b\""));
        assert!(these.contain_strongly("\"a\"") && !these.contain_strongly("\"b,c\""));
        assert_eq!(Tags::parse(""), Ok(Tags::These(vec![])));
        for bad in ["a", "\"a", "\"a\" \"b\"", "*,\"a\"", "w/\"a\""] {
            assert!(Tags::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_range_is_understood() {
        let range = |from, length| Part::Range { from, length };
        let cases = [
            ("bytes=0-9", range(0, 10)),
            ("bytes=5-", range(5, 95)),
            ("bytes=-1", range(99, 1)),
            ("bytes=-1000", range(0, 100)),
            ("bytes=99-1000", range(99, 1)),
            ("bytes=0-99999999999999999999999", range(0, 100)),
            ("bytes= 1 - 2 ", range(1, 2)),
            ("bytes=100-", Part::Outside),
            ("bytes=99999999999999999999999-", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=2-1", Part::Whole),
            ("bytes=0-1,5-6", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("lines=1-2", Part::Whole),
            ("", Part::Whole),
        ];
        for (text, part) in cases {
            assert_eq!(Part::of(Some(text), 100), part, "{text}");
        }
        assert_eq!(Part::of(None, 100), Part::Whole);
        assert_eq!(Part::of(Some("bytes=0-"), 0), Part::Outside);
        assert_eq!(Part::of(Some("bytes=-5"), 0), Part::Outside);
    }

    proptest! {
        #[test]
        fn a_part_lies_within(text in "bytes=[0-9]{0,20}-[0-9]{0,20}", size: u64) {
            if let Part::Range { from, length } = Part::of(Some(&text), size) {
                prop_assert!(length > 0 && from.checked_add(length).is_some_and(|end| end <= size));
            }
        }
    }
}
