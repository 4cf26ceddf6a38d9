//! Image references: what a request may say, and what an administrator allows.

use std::fmt;

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
    fn an_allowed_reference_names_its_registry() {
        assert!(ImageRef::parse("alpine").is_err());
        assert!(ImageRef::parse("library/alpine").is_err());
        assert_eq!(ImageRef::parse("localhost/demo").unwrap().as_str(), "localhost/demo:latest");
        assert!(ImageRef::parse(&format!("quay.io/a/b@sha256:{}", "0".repeat(64))).is_ok());
    }
}
