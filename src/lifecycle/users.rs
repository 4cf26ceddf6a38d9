//! Adding a user to a container: by the image's own tools, else by writing the account files.

use std::time::Duration;

use bytes::Bytes;
use sha_crypt::ShaCrypt;
use sha_crypt::password_hash::PasswordHasher;

use super::Lifecycle;
use crate::domain::{
    ContainerPath, Error, ExecUser, FileMode, FileOwner, Kind, Password, Result, Shell, Username, Words,
};
use crate::engine::{Deadline, Ended, ExecRequest, Execution, FileWrite};
use crate::policy::grant::{Audited, ContainerGrant};

/// A user to add.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Name.
    pub username: Username,
    /// Login is locked without one.
    pub password: Option<Password>,
    /// Login shell.
    pub shell: Shell,
}

/// Bytes that a tool may say.
const MAX_SAID: u64 = 64 * 1024;

/// The exit code of what SIGKILL ended, as it ends all that runs in a container.
const KILLED: i64 = 128 + 9;

/// First id given to people rather than services, as in Debian and Alpine.
const FIRST_ID: u32 = 1000;

impl Lifecycle {
    /// Adds the user with a home directory. `Conflict` if there is one of that name, or the container does not run.
    pub async fn add_user(&self, grant: &Audited<ContainerGrant>, user: &NewUser) -> Result<()> {
        let deadline = self.engine.deadline();
        // Files that are read, changed and written again: one at a time.
        let _alone = deadline.bound(async { Ok(self.alone(&grant.row().id).await) }).await?;
        let accounts = self.engine.read_file(grant, "/etc/passwd", deadline).await?.unwrap_or_default();
        if has_account(&accounts, &user.username) {
            return Err(Error::new(Kind::Conflict, "the user exists"));
        }
        let (name, shell) = (user.username.as_str(), user.shell.as_str());
        let tools: [&[&str]; 2] =
            [&["useradd", "-m", "-s", shell, "--", name], &["adduser", "-D", "-s", shell, "--", name]];
        for tool in tools {
            match self.run(grant, tool, None, deadline).await {
                Ok(done) => {
                    self.succeeded(grant, &done, "the image's tool refused to add the user").await?;
                    return self.set_password(grant, user, deadline).await;
                }
                Err(error) if error.kind == Kind::NoCommand => {}
                Err(error) => return Err(error),
            }
        }
        self.write_accounts(grant, user, &accounts, deadline).await
    }

    /// By chpasswd, which reads `name:password` lines: neither part can hold a line break, nor the name a colon.
    async fn set_password(&self, grant: &Audited<ContainerGrant>, user: &NewUser, deadline: Deadline) -> Result<()> {
        let Some(password) = &user.password else { return Ok(()) };
        let line = format!("{}:{}\n", user.username.as_str(), password.reveal());
        match self.run(grant, &["chpasswd"], Some(line), deadline).await {
            Ok(done) => self.succeeded(grant, &done, "the image's chpasswd refused the password").await,
            Err(error) if error.kind == Kind::NoCommand => {
                let shadow = self.engine.read_file(grant, "/etc/shadow", deadline).await?.unwrap_or_default();
                let line = shadow_line(user)?;
                self.write(grant, "/etc/shadow", replace_account(&shadow, &user.username, &line), 0o640, deadline).await
            }
            Err(error) => Err(error),
        }
    }

    /// For images without tools: passwd, group and shadow gain a line each, the shadow file only where it exists or a
    /// password is given.
    async fn write_accounts(
        &self,
        grant: &Audited<ContainerGrant>,
        user: &NewUser,
        accounts: &[u8],
        deadline: Deadline,
    ) -> Result<()> {
        self.engine.make_directory(grant, &ContainerPath::parse("/etc").map_err(Error::internal)?, 0, deadline).await?;
        let groups = self.engine.read_file(grant, "/etc/group", deadline).await?.unwrap_or_default();
        let shadow = self.engine.read_file(grant, "/etc/shadow", deadline).await?;
        let id = free_id(accounts, &groups);
        let (name, shell) = (user.username.as_str(), user.shell.as_str());
        let group = format!("{name}:x:{id}:");
        self.write(grant, "/etc/group", replace_account(&groups, &user.username, &group), 0o644, deadline).await?;
        if shadow.is_some() || user.password.is_some() {
            let shadow = replace_account(&shadow.unwrap_or_default(), &user.username, &shadow_line(user)?);
            self.write(grant, "/etc/shadow", shadow, 0o640, deadline).await?;
        }
        for directory in ["/home".to_owned(), format!("/home/{name}")] {
            let owner = if directory == "/home" { 0 } else { id };
            let path = ContainerPath::parse(&directory).map_err(Error::internal)?;
            self.engine.make_directory(grant, &path, owner, deadline).await?;
        }
        // Last, because this line is what makes the user exist.
        let account = format!("{name}:x:{id}:{id}::/home/{name}:{shell}");
        self.write(grant, "/etc/passwd", replace_account(accounts, &user.username, &account), 0o644, deadline).await
    }

    async fn run(
        &self,
        grant: &Audited<ContainerGrant>,
        words: &[&str],
        stdin: Option<String>,
        deadline: Deadline,
    ) -> Result<Execution> {
        let command = Words::parse(words.iter().map(|word| (*word).to_owned()).collect()).map_err(Error::internal)?;
        let request = ExecRequest {
            user: Some(ExecUser::parse("0:0").map_err(Error::internal)?),
            stdin: stdin.map(Bytes::from),
            ..ExecRequest::new(command, deadline.left(), MAX_SAID)
        };
        self.engine.exec(grant, &request, deadline).await
    }

    /// Nothing where the tool did what it was for. `Conflict` and `NotFound` where the container went away under it.
    async fn succeeded(&self, grant: &Audited<ContainerGrant>, done: &Execution, refused: &'static str) -> Result<()> {
        match done.ended {
            Ended::Exited(0) => Ok(()),
            Ended::TimedOut => Err(Error::new(Kind::EngineTimeout, "the image's tool did not end in time")),
            Ended::Exited(KILLED) => Err(stopped()),
            Ended::Exited(_) | Ended::TooMuchOutput => {
                if !self.status(grant, self.engine.deadline()).await?.is_running() {
                    return Err(stopped());
                }
                Err(Error::new(Kind::Refused, refused).because(String::from_utf8_lossy(&done.said.all(None))))
            }
        }
    }

    async fn write(
        &self,
        grant: &Audited<ContainerGrant>,
        path: &str,
        content: Vec<u8>,
        mode: u32,
        deadline: Deadline,
    ) -> Result<()> {
        let path = ContainerPath::parse(path).map_err(Error::internal)?;
        // A deadline of its own, so that files that belong together are all written or none is begun late.
        let deadline = deadline.extended(Duration::from_secs(5));
        let file = FileWrite { path, content: content.into(), mode: FileMode(mode), owner: FileOwner::default() };
        self.engine.write_account_file(grant, &file, deadline).await
    }
}

fn stopped() -> Error {
    Error::new(Kind::Conflict, "the container stopped meanwhile")
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn field(line: &[u8], index: usize) -> Option<&[u8]> {
    line.split(|byte| *byte == b':').nth(index)
}

fn has_account(accounts: &[u8], name: &Username) -> bool {
    lines(accounts).any(|line| field(line, 0) == Some(name.as_str().as_bytes()))
}

/// The file with `line` in place of the account's old one, or at its end. Lines that are not UTF-8 stay as they are.
fn replace_account(file: &[u8], name: &Username, line: &str) -> Vec<u8> {
    let mut written = Vec::with_capacity(file.len() + line.len() + 1);
    for old in lines(file).filter(|old| field(old, 0) != Some(name.as_str().as_bytes())) {
        written.extend_from_slice(old);
        written.push(b'\n');
    }
    written.extend_from_slice(line.as_bytes());
    written.push(b'\n');
    written
}

/// The lowest id from [`FIRST_ID`] that no user and no group has.
fn free_id(accounts: &[u8], groups: &[u8]) -> u32 {
    let taken: std::collections::HashSet<u32> = lines(accounts)
        .chain(lines(groups))
        .filter_map(|line| std::str::from_utf8(field(line, 2)?).ok()?.parse().ok())
        .collect();
    (FIRST_ID..).find(|id| !taken.contains(id)).unwrap_or(FIRST_ID)
}

/// A line of /etc/shadow: SHA-512 crypt, or locked without a password.
fn shadow_line(user: &NewUser) -> Result<String> {
    let hash = match &user.password {
        Some(password) => {
            // 12 bytes make the 16 characters at which crypt(3) cuts the salt: with more, it would not know its own hash.
            let salt: [u8; 12] = rand::random();
            let hash = ShaCrypt::default().hash_password_with_salt(password.reveal().as_bytes(), &salt);
            hash.map_err(Error::internal)?.as_str().to_owned()
        }
        None => "!".to_owned(),
    };
    Ok(format!("{}:{hash}::0:99999:7:::", user.username.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Username {
        Username::parse(text).unwrap()
    }

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nalicia:x:1000:1000::/home/alicia:/bin/sh\n";
        assert!(has_account(passwd, &name("root")));
        assert!(!has_account(passwd, &name("alic")));
        assert!(!has_account(b"", &name("root")));
    }

    #[test]
    fn a_line_is_added_once_and_bytes_survive() {
        let file = b"a:\xff:1\nbob:old\n";
        let once = replace_account(file, &name("bob"), "bob:new");
        assert_eq!(once, b"a:\xff:1\nbob:new\n");
        assert_eq!(replace_account(b"", &name("bob"), "bob:new"), b"bob:new\n");
        assert_eq!(replace_account(b"x:1", &name("bob"), "bob:new"), b"x:1\nbob:new\n");
    }

    #[test]
    fn ids_avoid_users_and_groups() {
        assert_eq!(free_id(b"", b""), 1000);
        assert_eq!(free_id(b"a:x:1000:7::/:\n", b"g:x:1001:\n"), 1002);
    }

    #[test]
    fn a_password_becomes_a_hash() {
        let user = NewUser { username: name("bob"), password: Password::parse("pw").ok(), shell: Shell::posix() };
        let line = shadow_line(&user).unwrap();
        let parts: Vec<&str> = line.split('$').collect();
        assert_eq!((parts[0], parts[1]), ("bob:", "6"), "{line}");
        assert_eq!(parts[parts.len() - 2].len(), 16, "the salt of {line}");
        let locked = shadow_line(&NewUser { password: None, ..user }).unwrap();
        assert_eq!(locked, "bob:!::0:99999:7:::");
    }
}
