//! Paths inside a container.

/// The absolute, normalised path of one file: a parent directory and one plain name (SECURITY rules 17, 18).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPath {
    path: String,
    name_at: usize,
}

impl ContainerPath {
    /// Longest path taken: Linux's PATH_MAX without its final NUL.
    const MAX: usize = 4095;
    /// Longest component: Linux's NAME_MAX.
    const MAX_NAME: usize = 255;

    /// Parses an absolute path. Nothing is repaired: `.`, `..`, `//`, a trailing slash and control characters are
    /// refused, because what is stored must be what was asked for.
    pub fn parse(input: &str) -> Result<Self, String> {
        let Some(relative) = input.strip_prefix('/') else {
            return Err("the path must be absolute".into());
        };
        if input.len() > Self::MAX {
            return Err(format!("the path is longer than {} bytes", Self::MAX));
        }
        if input.chars().any(char::is_control) {
            return Err("the path holds a control character".into());
        }
        for part in relative.split('/') {
            match part {
                "" => return Err("the path has an empty component or ends with '/'".into()),
                "." | ".." => return Err("the path must not contain '.' or '..'".into()),
                long if long.len() > Self::MAX_NAME => {
                    return Err(format!("a name in the path is longer than {} bytes", Self::MAX_NAME));
                }
                _ => {}
            }
        }
        let name_at = input.rfind('/').map_or(0, |slash| slash + 1);
        Ok(Self { path: input.to_owned(), name_at })
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// The directory it lies in: `/` or without a trailing slash.
    pub fn parent(&self) -> &str {
        if self.name_at <= 1 { "/" } else { &self.path[..self.name_at - 1] }
    }

    /// Its last component.
    pub fn name(&self) -> &str {
        &self.path[self.name_at..]
    }
}

/// A directory inside a container: the root, or a path as above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory(String);

impl Directory {
    /// Parses an absolute path; nothing is repaired.
    pub fn parse(input: &str) -> Result<Self, String> {
        match input {
            "/" => Ok(Self(input.to_owned())),
            other => ContainerPath::parse(other).map(|path| Self(path.path)),
        }
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The absolute, normalised path of anything: as [`ContainerPath`], or the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreePath(String);

impl TreePath {
    /// Parses an absolute path. Nothing is repaired.
    pub fn parse(input: &str) -> Result<Self, String> {
        if input != "/" {
            ContainerPath::parse(input)?;
        }
        Ok(Self(input.to_owned()))
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last component; none of the root.
    pub fn name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|name| !name.is_empty())
    }
}

impl From<&ContainerPath> for TreePath {
    fn from(path: &ContainerPath) -> Self {
        Self(path.path.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splits_into_parent_and_name() {
        let cases = [("/a", "/", "a"), ("/tmp/x.txt", "/tmp", "x.txt"), ("/a/b/ c", "/a/b", " c")];
        for (path, parent, name) in cases {
            let parsed = ContainerPath::parse(path).unwrap();
            assert_eq!((parsed.parent(), parsed.name()), (parent, name));
        }
    }

    #[test]
    fn nothing_is_repaired() {
        for bad in ["", ".", "..", "/", "a", "./a", "/a/", "/a//b", "/a/../b", "/./a", "/a\0b", "/a\nb", "//"] {
            assert!(ContainerPath::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ContainerPath::parse(&format!("/{}", "a".repeat(256))).is_err());
    }

    #[test]
    fn the_root_is_a_tree() {
        assert_eq!(TreePath::parse("/").unwrap().name(), None);
        assert_eq!(TreePath::parse("/a/b").unwrap().name(), Some("b"));
        for bad in ["", "//", "/.", "/a/", "a", "/a/..", "/a\0"] {
            assert!(TreePath::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn parent_and_name_make_the_path_again(input in "(/[a-c.]{0,3}){1,5}") {
            if let Ok(path) = ContainerPath::parse(&input) {
                let joined = format!("{}/{}", path.parent().trim_end_matches('/'), path.name());
                prop_assert_eq!(joined, input);
                prop_assert!(!path.name().contains('/') && path.name() != ".." && path.name() != ".");
            }
        }
    }
}
