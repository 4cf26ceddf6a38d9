//! Accounts inside a container, as `useradd` and Podman see them.

/// A user to create: `^[a-z_][a-z0-9_-]{0,31}$` (SECURITY rule 34: useradd takes `..`, `0` and `--help`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(String);

impl Username {
    /// Parses, or says what a user name looks like.
    pub fn parse(input: &str) -> Result<Self, String> {
        let bytes = input.as_bytes();
        let fits = (1..=32).contains(&bytes.len())
            && (bytes[0].is_ascii_lowercase() || bytes[0] == b'_')
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
        if fits {
            Ok(Self(input.to_owned()))
        } else {
            Err("a user name is 1 to 32 of a-z, 0-9, '_' and '-', and begins with a letter or '_'".into())
        }
    }

    /// The checked text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A login shell: `^/[A-Za-z0-9._/-]{1,128}$`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shell(String);

impl Shell {
    /// Parses, or says what a shell looks like.
    pub fn parse(input: &str) -> Result<Self, String> {
        let fits = (2..=129).contains(&input.len())
            && input.starts_with('/')
            && input.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b'-'));
        if fits {
            Ok(Self(input.to_owned()))
        } else {
            Err("a shell is an absolute path of at most 129 characters of A-Z, a-z, 0-9, '.', '_', '/' and '-'".into())
        }
    }

    /// `/bin/sh`.
    pub fn posix() -> Self {
        Self("/bin/sh".into())
    }

    /// The checked text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A password for a user inside a container: 1 to 128 characters, none of control (SECURITY rule 12: a line break
/// would add a second `name:password` line to chpasswd's input).
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Parses, or says what a password looks like; never repeats it.
    pub fn parse(input: &str) -> Result<Self, String> {
        let length = input.chars().count();
        if (1..=128).contains(&length) && !input.chars().any(char::is_control) {
            Ok(Self(input.to_owned()))
        } else {
            Err("a password is 1 to 128 characters without control characters".into())
        }
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(***)")
    }
}

/// The last user or group id inside a container.
const MOST_ID: u64 = 65_535;

/// Who a process runs as: `name`, `uid`, `name:group`, `uid:gid`. Podman resolves it inside the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecUser(String);

impl ExecUser {
    /// Parses, or says what a user looks like.
    pub fn parse(input: &str) -> Result<Self, String> {
        let part = |text: &str| {
            (1..=32).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
                && !text.starts_with(['-', '.'])
        };
        let (user, group) = input.split_once(':').map_or((input, None), |(user, group)| (user, Some(group)));
        let parts = [Some(user), group];
        // A tenant has so many ids; Podman fails late on another.
        let beyond =
            |part: &str| part.bytes().all(|b| b.is_ascii_digit()) && part.parse().is_ok_and(|id: u64| id > MOST_ID);
        if parts.into_iter().flatten().any(beyond) {
            return Err(format!("a number of a user or group is at most {MOST_ID}"));
        }
        if part(user) && group.is_none_or(part) {
            Ok(Self(input.to_owned()))
        } else {
            Err("a user is a name or number, or two of them with ':' between".into())
        }
    }

    /// The checked text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_that_useradd_would_misread_are_refused() {
        for bad in ["", "..", "0", "$(id)", "--help", "-a", "A", "a b", "a:b", "root\n", &"a".repeat(33)] {
            assert!(Username::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Username::parse("_apt-user_1").is_ok());
    }

    #[test]
    fn a_password_cannot_carry_a_second_line() {
        for bad in ["", "x\nroot:PWNED", "x\r", "a\0b", &"a".repeat(129)] {
            assert!(Password::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Password::parse("päss:wörd $(id)").is_ok());
        assert_eq!(format!("{:?}", Password::parse("secret").unwrap()), "Password(***)");
    }

    #[test]
    fn shells_and_exec_users() {
        assert!(Shell::parse("/bin/sh").is_ok());
        for bad in ["", "/", "sh", "/bin/sh -c", "/bin/$x", &format!("/{}", "a".repeat(129))] {
            assert!(Shell::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["root", "1000", "1000:1000", "www-data:www-data"] {
            assert!(ExecUser::parse(good).is_ok(), "{good:?}");
        }
        for bad in ["", ":", "a:", ":b", "a:b:c", "../x", "a b", "-x"] {
            assert!(ExecUser::parse(bad).is_err(), "{bad:?}");
        }
    }
}
