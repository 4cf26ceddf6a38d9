//! Image references: what a request may say, and what an administrator allows.

use std::fmt;
use std::str::FromStr;

/// A fully qualified reference: `registry/repository:tag` or `registry/repository@sha256:…`.
///
/// Only administrators make one. A request never does: it is matched against theirs (SECURITY rule 5).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef(String);

/// An image as a request names it: an alias or a reference, normalised with its tag, not yet allowed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRequest(String);

impl ImageRef {
    /// Parses a fully qualified reference; a missing tag is `latest`.
    pub fn parse(input: &str) -> Result<Self, String> {
        let ImageRequest(reference) = ImageRequest::parse(input)?;
        let (registry, rest) = reference.split_once('/').unwrap_or((&reference, ""));
        let is_host = registry.contains(['.', ':']) || registry == "localhost";
        if is_host && !rest.is_empty() {
            Ok(Self(reference))
        } else {
            Err(format!("{input:?} does not name its registry, as docker.io/library/alpine does"))
        }
    }

    /// Whether it names content and not a tag.
    pub fn is_pinned(&self) -> bool {
        self.0.contains('@')
    }

    /// The checked text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ImageRequest {
    /// Parses a short or full reference; a missing tag is `latest`. Ids, digests alone and transports
    /// (`docker-archive:…`, `oci:…`) are refused.
    pub fn parse(input: &str) -> Result<Self, String> {
        const WHAT: &str = "an image is [registry/]repository[:tag] or [registry/]repository@sha256:digest";
        if input.is_empty() || input.len() > 255 || !input.is_ascii() {
            return Err(WHAT.into());
        }
        let (name, digest) = input.split_once('@').map_or((input, None), |(name, digest)| (name, Some(digest)));
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match name[last..].split_once(':') {
            Some((before, tag)) => (&name[..last + before.len()], Some(tag)),
            None => (name, None),
        };
        let mut parts = repository.split('/');
        let first = parts.next().unwrap_or_default();
        let single = !repository.contains('/');
        let fits = (if single { is_component(first) } else { is_component(first) || is_host(first) })
            && parts.all(is_component)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest)
            && !(tag.is_some() && digest.is_some());
        if !fits || (single && (first == "sha256" || tag.is_none() && looks_like_id(first))) {
            return Err(WHAT.into());
        }
        let suffix = if tag.is_none() && digest.is_none() { ":latest" } else { "" };
        Ok(Self(format!("{input}{suffix}")))
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Images that an administrator allows: one reference, or all that begin alike.
///
/// A `*` may end the repository, where it stands for one more component or the rest of one, and the tag. A repository
/// that ends so and names no tag has any tag or digest. The registry is always named in full (SECURITY rule 23).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImagePattern {
    text: String,
    repository: Beginning,
    /// None: any tag or digest.
    tag: Option<Beginning>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Beginning {
    text: String,
    open: bool,
}

impl Beginning {
    fn parse(input: &str) -> Self {
        let open = input.ends_with('*');
        Self { text: input.strip_suffix('*').unwrap_or(input).to_owned(), open }
    }

    /// Something that it stands for.
    fn example(&self) -> String {
        format!("{}{}", self.text, if self.open { "x" } else { "" })
    }

    fn matches(&self, text: &str) -> bool {
        if !self.open {
            return self.text == text;
        }
        text.strip_prefix(&self.text).is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
    }
}

impl ImagePattern {
    /// Parses a full reference or a pattern of them.
    pub fn parse(input: &str) -> Result<Self, String> {
        let (repository, tag) = split(input);
        let repository = Beginning::parse(repository);
        let tag = match tag {
            None if repository.open => None,
            None => Some(Beginning::parse(":latest")),
            Some(tag) => Some(Beginning::parse(tag)),
        };
        let example = format!("{}{}", repository.example(), tag.as_ref().map(Beginning::example).unwrap_or_default());
        let wrong = |why| match input.contains('*') {
            true => format!("{input:?} is no full reference whose repository or tag ends in '*'"),
            false => why,
        };
        ImageRef::parse(&example).map_err(wrong)?;
        let star = |part: &Beginning| if part.open { "*" } else { "" };
        let tail = tag.as_ref().map(|tag| format!("{}{}", tag.text, star(tag))).unwrap_or_default();
        Ok(Self { text: format!("{}{}{tail}", repository.text, star(&repository)), repository, tag })
    }

    /// Whether it allows this image.
    pub fn matches(&self, reference: &ImageRef) -> bool {
        let (repository, tag) = split(reference.as_str());
        self.repository.matches(repository)
            && self.tag.as_ref().is_none_or(|wanted| tag.is_some_and(|tag| wanted.matches(tag)))
    }

    /// The one image it allows, if it is one.
    pub fn exact(&self) -> Option<ImageRef> {
        let open = self.repository.open || self.tag.as_ref().is_none_or(|tag| tag.open);
        (!open).then(|| ImageRef(self.text.clone()))
    }

    /// The checked text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The repository, and the tag or digest with the sign before it.
fn split(reference: &str) -> (&str, Option<&str>) {
    let last = reference.rfind('/').map_or(0, |slash| slash + 1);
    match reference[last..].find(['@', ':']) {
        Some(at) => (&reference[..last + at], Some(&reference[last + at..])),
        None => (reference, None),
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How far a create may go to get its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PullPolicy {
    /// Only what the host has.
    Never,
    /// Pulls what the host has not.
    Missing,
    /// Pulls in any case.
    Always,
}

impl PullPolicy {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Never, Self::Missing, Self::Always];

    /// The name in requests and in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Missing => "missing",
            Self::Always => "always",
        }
    }
}

impl FromStr for PullPolicy {
    type Err = String;

    fn from_str(input: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|policy| policy.as_str() == input);
        found.ok_or_else(|| format!("{input:?} is none of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path component of the distribution specification: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, near enough.
fn is_component(part: &str) -> bool {
    let bytes = part.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
        && !part.contains("..")
}

fn is_host(part: &str) -> bool {
    let (host, port) = part.split_once(':').map_or((part, None), |(host, port)| (host, Some(port)));
    !host.is_empty()
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
        })
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && !tag.starts_with(['.', '-'])
}

fn is_digest(digest: &str) -> bool {
    digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// Podman would take such a word for an image id or the beginning of one.
fn looks_like_id(word: &str) -> bool {
    word.len() >= 12 && word.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_normalised() {
        let cases = [
            ("alpine", "alpine:latest"),
            ("alpine:3.20", "alpine:3.20"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("docker.io/library/alpine:latest", "docker.io/library/alpine:latest"),
        ];
        for (input, normal) in cases {
            assert_eq!(ImageRequest::parse(input).unwrap().as_str(), normal);
        }
    }

    #[test]
    fn ids_transports_and_odd_text_are_refused() {
        let digest = "a".repeat(64);
        for bad in [
            "",
            "A",
            "a b",
            "../x",
            "a//b",
            "/a",
            "a/",
            "docker-archive:/tmp/x",
            "oci:/x:y",
            "sha256:abc",
            "a:",
            "a@b",
            "0123456789ab",
            &digest,
            "a\n",
            "-a",
            "dir:/etc",
            "a:b:c",
            "a?x=1",
            "a%2fb",
            "a#b",
        ] {
            assert!(ImageRequest::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_pattern_allows_what_begins_alike() {
        let digest = format!("quay.io/acme/web@sha256:{}", "0".repeat(64));
        let cases: [(&str, &[&str], &[&str]); 5] = [
            ("quay.io/acme/web", &["quay.io/acme/web"], &["quay.io/acme/web:1", "quay.io/acme/web2", &digest]),
            (
                "quay.io/acme/*",
                &["quay.io/acme/web", "quay.io/acme/db:1.2", &digest],
                &["quay.io/acme/a/b", "quay.io/acmes/web", "quay.io/acme"],
            ),
            ("quay.io/acme/web-*:1.*", &["quay.io/acme/web-a:1.2"], &["quay.io/acme/web-a:2", "quay.io/acme/web-:1.2"]),
            ("localhost:5000/py:3*", &["localhost:5000/py:3.12"], &["localhost:5000/py", "localhost:5001/py:3.12"]),
            (&digest, &[&digest], &["quay.io/acme/web"]),
        ];
        for (pattern, allowed, refused) in cases {
            let parsed = ImagePattern::parse(pattern).unwrap();
            assert_eq!(ImagePattern::parse(parsed.as_str()).unwrap(), parsed);
            let matches = |text: &&str| ImageRef::parse(text).is_ok_and(|reference| parsed.matches(&reference));
            assert!(allowed.iter().all(matches), "{pattern} allows {allowed:?}");
            assert!(!refused.iter().any(matches), "{pattern} refuses {refused:?}");
        }
        for bad in
            ["*", "*/web", "quay.io/*/web", "quay*/acme/web", "quay.io/a:1*2", "acme/*", "quay.io/a**", "*:1", ""]
        {
            assert!(ImagePattern::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_allowed_reference_names_its_registry() {
        assert!(ImageRef::parse("alpine").is_err());
        assert!(ImageRef::parse("library/alpine").is_err());
        assert_eq!(ImageRef::parse("localhost/demo").unwrap().as_str(), "localhost/demo:latest");
        assert!(ImageRef::parse(&format!("quay.io/a/b@sha256:{}", "0".repeat(64))).is_ok());
    }
}
