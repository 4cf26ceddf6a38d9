//! Commands as the seed's clients write them, and as Podman wants them.

/// A command as it came: one string, or words already split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A string, for a shell to read unless it needs none.
    Text(String),
    /// The words, run as they are.
    Words(Words),
}

/// A program and its arguments: at least one word, none with a NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Vec<String>);

/// The most bytes of one command, all words together: Linux gives a new process 2 MiB for arguments and
/// environment, but one word at most 128 KiB (MAX_ARG_STRLEN).
const MAX_BYTES: usize = 128 * 1024 - 1;

/// What makes a string need a shell. Space and tab only separate words.
const METACHARACTERS: &[char] =
    &['|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '"', '\'', '*', '?', '[', ']', '#', '~', '{', '}', '!', '\n'];

impl Words {
    /// Words as a client sent them.
    pub fn parse(words: Vec<String>) -> Result<Self, String> {
        if words.first().is_none_or(String::is_empty) {
            return Err("a command needs at least one word".into());
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err("a command must not contain NUL".into());
        }
        if words.iter().map(String::len).sum::<usize>() > MAX_BYTES {
            return Err(format!("a command is at most {MAX_BYTES} bytes"));
        }
        Ok(Self(words))
    }

    /// The words.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    fn shell(text: &str) -> Self {
        // Behind a blank it is no option of the shell's.
        let blank = if text.starts_with(['-', '+']) { " " } else { "" };
        Self(vec!["/bin/sh".into(), "-c".into(), format!("{blank}{text}")])
    }
}

impl CommandLine {
    /// A string as a client sent it.
    pub fn parse_text(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("the command is empty".into());
        }
        if text.contains('\0') {
            return Err("a command must not contain NUL".into());
        }
        if text.len() > MAX_BYTES {
            return Err(format!("a command is at most {MAX_BYTES} bytes"));
        }
        Ok(Self::Text(text.to_owned()))
    }

    /// What a container's main process runs: a string without metacharacters is split and run directly, so that
    /// `"sleep 300"` works on an image without a shell and the process gets signals itself.
    pub fn for_create(self) -> Words {
        match self {
            Self::Words(words) => words,
            Self::Text(text) => split(&text).unwrap_or_else(|| Words::shell(&text)),
        }
    }

    /// As it came, for whoever wants to know what was asked for.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let words = match self {
            Self::Words(words) => words.as_slice(),
            Self::Text(text) => std::slice::from_ref(text),
        };
        words.iter().map(String::as_str)
    }

    /// What an exec runs: a string goes to the shell.
    pub fn for_exec(&self) -> Words {
        match self {
            Self::Words(words) => words.clone(),
            Self::Text(text) => Words::shell(text),
        }
    }

    /// What an exec runs where there is no shell; none if the string needs one.
    pub fn without_shell(&self) -> Option<Words> {
        match self {
            Self::Words(_) => None,
            Self::Text(text) => split(text),
        }
    }
}

/// The words of a string that no shell need read: no metacharacter, and no assignment before the program.
fn split(text: &str) -> Option<Words> {
    let words: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
    let plain = !text.contains(METACHARACTERS) && !words.first()?.contains('=');
    plain.then_some(Words(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(input: &str) -> CommandLine {
        CommandLine::parse_text(input).unwrap()
    }

    #[test]
    fn plain_strings_are_split_at_create() {
        assert_eq!(text("sleep 300").for_create().as_slice(), ["sleep", "300"]);
        assert_eq!(text("  a\tb ").for_create().as_slice(), ["a", "b"]);
    }

    #[test]
    fn strings_for_a_shell_keep_their_text() {
        for input in ["echo a; echo b", "echo $HOME", "A=1 env", "echo 'a b'", "ls *", "a && b", "a\nb"] {
            assert_eq!(text(input).for_create().as_slice(), ["/bin/sh", "-c", input]);
            assert_eq!(text(input).without_shell(), None);
        }
        assert_eq!(text("whoami").for_exec().as_slice(), ["/bin/sh", "-c", "whoami"]);
        assert_eq!(text("/app echo x").without_shell().unwrap().as_slice(), ["/app", "echo", "x"]);
    }

    #[test]
    fn empty_and_nul_are_refused() {
        assert!(CommandLine::parse_text(" ").is_err());
        assert!(CommandLine::parse_text("a\0b").is_err());
        assert!(Words::parse(vec![]).is_err());
        assert!(Words::parse(vec!["".into()]).is_err());
        assert!(Words::parse(vec!["a".into(), "b\0".into()]).is_err());
        assert!(Words::parse(vec!["echo".into(), "".into()]).is_ok());
    }
}
