//! `podgate account …`

use clap::Subcommand;
use serde_json::json;

use super::{ConfigFile, Failure, account, announce, announce_end, ended, line_of_stdin, load, print, print_json};
use crate::app::{self, Opened};
use crate::auth::check_new_password;
use crate::config::{Config, ForeignAccounts};
use crate::domain::{Error, Kind, Login, Role, TenantSlug};
use crate::store::{AccountChange, AccountInfo, PLATFORM_IS_APART, Store};

#[derive(clap::Args)]
pub(super) struct Which {
    /// TENANT/NAME, or NAME for a platform administrator.
    #[arg(value_parser = Login::parse)]
    login: Login,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make an account. Its password is one line of standard input, unless an identity provider vouches for it.
    Create {
        #[command(flatten)]
        which: Which,
        /// viewer, operator, admin, or platform for a platform administrator.
        #[arg(long)]
        role: Role,
        /// Read the password from standard input; there is no other way, so that it is in no process list.
        #[arg(long, required_unless_present = "issuer", conflicts_with = "issuer")]
        password_stdin: bool,
        /// The identity provider that vouches for it, as the configuration calls it.
        #[arg(long, value_name = "NAME", requires = "subject")]
        issuer: Option<String>,
        /// What that provider calls the person: `sub` in its tokens.
        #[arg(long, requires = "issuer")]
        subject: Option<String>,
    },
    /// Change an account's role. What was issued to it before is not good any more; so it is with all changes.
    Role {
        #[command(flatten)]
        which: Which,
        /// viewer, operator or admin.
        #[arg(long)]
        role: Role,
    },
    /// Change an account's password, one line of standard input.
    Password {
        #[command(flatten)]
        which: Which,
        /// Read the password from standard input.
        #[arg(long, required = true)]
        password_stdin: bool,
    },
    /// Let an account in no more.
    Disable(Which),
    /// Let a disabled account in again.
    Enable(Which),
    /// Take an account away.
    Delete(Which),
    /// Print the accounts of a tenant, or the platform administrators.
    List {
        /// The tenant; none: platform administrators.
        #[arg(value_parser = TenantSlug::parse)]
        tenant: Option<TenantSlug>,
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        file: ConfigFile,
    },
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let disabled = |disabled| AccountChange { disabled: Some(disabled), ..AccountChange::default() };
    match command {
        Command::Create { which: Which { login, file }, role, password_stdin: _, issuer, subject } => {
            if (role == Role::Platform) != login.tenant.is_none() {
                return Err(Error::invalid(PLATFORM_IS_APART).into());
            }
            let config = load(&file)?;
            if let Some((issuer, subject)) = issuer.zip(subject) {
                return link(&config, &login, role, &issuer, &subject).await;
            }
            let password = line_of_stdin()?;
            check_new_password(&password)?;
            let Opened { store, auth, .. } = app::open(&config, app::world()).await?;
            let hash = auth.hash_password(password).await?;
            let entry = announce(&store, "createAccount", account(&store, &login).await?).await?;
            ended(&store, &entry, store.create_account(&login, role, &hash, None, &entry).await).await?;
            Ok(print(&format!("account {login} created\n"))?)
        }
        Command::Role { which, role } => {
            change(which, AccountChange { role: Some(role), ..AccountChange::default() }).await
        }
        Command::Password { which, password_stdin: _ } => {
            let password = line_of_stdin()?;
            check_new_password(&password)?;
            let Opened { auth, .. } = app::open(&load(&which.file)?, app::world()).await?;
            let password_hash = Some(auth.hash_password(password).await?);
            change(which, AccountChange { password_hash, ..AccountChange::default() }).await
        }
        Command::Disable(which) => change(which, disabled(true)).await,
        Command::Enable(which) => change(which, disabled(false)).await,
        Command::List { tenant, json, file } => list(tenant, json, &file).await,
        Command::Delete(Which { login, file }) => {
            let Opened { store, .. } = app::open(&load(&file)?, app::world()).await?;
            let found = existing(&store, &login).await?;
            let entry =
                announce_end(&store, "removeAccount", account(&store, &login).await?.with_id(&found.id)).await?;
            ended(&store, &entry, store.delete_account(&found, &entry).await).await?;
            Ok(print(&format!("account {login} deleted\n"))?)
        }
    }
}

async fn link(config: &Config, login: &Login, role: Role, name: &str, subject: &str) -> Result<(), Failure> {
    let unknown = || Error::new(Kind::NotFound, format!("the configuration has no issuer {name}"));
    let issuer = config.issuers.iter().find(|issuer| issuer.name == name).ok_or_else(unknown)?;
    if !matches!(issuer.accounts, ForeignAccounts::Linked) {
        let message =
            format!("issuers.{name}.accounts is not linked: its people have the accounts that claims give them");
        return Err(Error::new(Kind::Conflict, message).into());
    }
    let Opened { store, .. } = app::open(config, app::world()).await?;
    let entry = announce(&store, "createAccount", account(&store, login).await?).await?;
    let linked = store.link_account(login, role, (&issuer.issuer, subject), &entry).await;
    ended(&store, &entry, linked).await?;
    Ok(print(&format!("account {login} created\n"))?)
}

async fn list(tenant: Option<TenantSlug>, json: bool, file: &ConfigFile) -> Result<(), Failure> {
    let Opened { store, .. } = app::open(&load(file)?, app::world()).await?;
    let tenant = match tenant {
        Some(slug) => {
            let missing = || Error::new(Kind::NotFound, format!("there is no tenant {slug}"));
            Some(store.tenant(&slug).await?.ok_or_else(missing)?)
        }
        None => None,
    };
    let accounts = store.accounts(tenant.as_ref()).await?;
    if json {
        let all = accounts.iter().map(|one| {
            json!({
                "username": one.login.to_string(),
                "role": one.role.as_str(),
                "disabled": one.disabled,
                "created_ms": one.created_ms,
            })
        });
        return Ok(print_json(&json!({"accounts": all.collect::<Vec<_>>()}))?);
    }
    for one in accounts {
        let note = if one.disabled { " (disabled)" } else { "" };
        print(&format!("{} {}{note}\n", one.login, one.role.as_str()))?;
    }
    Ok(())
}

async fn change(Which { login, file }: Which, change: AccountChange) -> Result<(), Failure> {
    let Opened { store, .. } = app::open(&load(&file)?, app::world()).await?;
    let found = existing(&store, &login).await?;
    let object = account(&store, &login).await?.with_id(&found.id);
    let entry = match change.only_disables() {
        true => announce_end(&store, "changeAccount", object).await?,
        false => announce(&store, "changeAccount", object).await?,
    };
    ended(&store, &entry, store.change_account(&found, &change, &entry).await).await?;
    Ok(print(&format!("account {login} changed\n"))?)
}

async fn existing(store: &Store, login: &Login) -> Result<AccountInfo, Error> {
    let missing = || Error::new(Kind::NotFound, format!("there is no account {login}"));
    store.account_info(login).await?.ok_or_else(missing)
}
