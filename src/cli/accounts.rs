//! `podgate account …`

use clap::Subcommand;

use super::{ConfigFile, Failure, line_of_stdin, load, print};
use crate::app::{self, Opened};
use crate::auth::MAX_PASSWORD_BYTES;
use crate::domain::{Error, Login, Role};

/// Shortest password taken (NIST SP 800-63B).
const MIN_PASSWORD_CHARACTERS: usize = 8;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make an account. Its password is one line of standard input.
    Create {
        /// TENANT/NAME, or NAME with the role platform.
        #[arg(value_parser = Login::parse)]
        login: Login,
        /// viewer, operator, admin, or platform for a platform administrator.
        #[arg(long)]
        role: Role,
        /// Read the password from standard input; there is no other way, so that it is in no process list.
        #[arg(long, required = true)]
        password_stdin: bool,
        #[command(flatten)]
        file: ConfigFile,
    },
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let Command::Create { login, role, password_stdin: _, file } = command;
    if (role == Role::Platform) != login.tenant.is_none() {
        let message = "the role platform goes with a name without a tenant, every other role with TENANT/NAME";
        return Err(Error::invalid(message).into());
    }
    let config = load(&file)?;
    let password = line_of_stdin()?;
    if password.chars().count() < MIN_PASSWORD_CHARACTERS || password.len() > MAX_PASSWORD_BYTES {
        let message = format!(
            "a password is {MIN_PASSWORD_CHARACTERS} characters at least and {MAX_PASSWORD_BYTES} bytes at most"
        );
        return Err(Error::invalid(message).into());
    }
    let Opened { store, auth } = app::open(&config, app::world()).await?;
    let hash = auth.hash_password(password).await?;
    store.create_account(&login, role, &hash).await?;
    print(&format!("account {login} created\n"));
    Ok(())
}
