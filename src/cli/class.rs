//! `podgate class …`: a tenant and an account for each student.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Subcommand;

use super::tenants::Means;
use super::{ConfigFile, Failure, load, print};
use crate::app::{self, Opened};
use crate::domain::{AccountName, Error, Kind, Login, Role, TenantSlug};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make what a file of lines TENANT,ACCOUNT[,ROLE] names, and print each account with its new password, once.
    ///
    /// The role is operator where a line has none; several accounts may share a tenant. Nothing is made if any line is
    /// wrong or any account exists.
    Import {
        /// The file; a first line `tenant,account,role`, empty ones and those that begin with # are passed over.
        csv: PathBuf,
        #[command(flatten)]
        means: Means,
        #[command(flatten)]
        file: ConfigFile,
    },
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let Command::Import { csv, means, file } = command;
    let config = load(&file)?;
    means.check(&config)?;
    let text = std::fs::read_to_string(&csv);
    let text = text.map_err(|error| Error::new(Kind::NotFound, format!("{}: {error}", csv.display())))?;
    let accounts = parse(&text)?;
    let Opened { store, auth } = app::open(&config, app::world()).await?;
    let mut taken = Vec::new();
    for (login, _) in &accounts {
        if store.account_info(login).await?.is_some() {
            taken.push(login.to_string());
        }
    }
    if !taken.is_empty() {
        return Err(Error::new(Kind::Conflict, format!("these exist already: {}", taken.join(", "))).into());
    }
    print("username,password\n");
    for (login, role) in accounts {
        if let Some(slug) = &login.tenant
            && store.tenant(slug).await?.is_none()
        {
            let tenant = store.create_tenant(slug, &means.images()).await?;
            means.give(&store, &tenant).await?;
        }
        let password = crate::auth::new_password();
        let hash = auth.hash_password(password.clone()).await?;
        store.create_account(&login, role, &hash).await?;
        // At once, so that no account is made whose password nobody saw.
        print(&format!("{login},{password}\n"));
    }
    Ok(())
}

/// The accounts of the file, or all that is wrong with it.
fn parse(text: &str) -> Result<Vec<(Login, Role)>, Error> {
    let (mut accounts, mut seen, mut wrong) = (Vec::new(), BTreeSet::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || (index == 0 && line.starts_with("tenant,")) {
            continue;
        }
        match parse_line(line) {
            Ok((login, _)) if !seen.insert(login.to_string()) => {
                wrong.push(format!("line {}: {login} is there twice", index + 1));
            }
            Ok(account) => accounts.push(account),
            Err(error) => wrong.push(format!("line {}: {error}", index + 1)),
        }
    }
    if wrong.is_empty() { Ok(accounts) } else { Err(Error::invalid(wrong.join("\n"))) }
}

fn parse_line(line: &str) -> Result<(Login, Role), String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let (tenant, name, role) = match fields[..] {
        [tenant, name] => (tenant, name, "operator"),
        [tenant, name, role] => (tenant, name, role),
        _ => return Err("a line is TENANT,ACCOUNT or TENANT,ACCOUNT,ROLE".into()),
    };
    let role: Role = role.parse()?;
    if role == Role::Platform {
        return Err("a platform administrator belongs to no tenant".into());
    }
    Ok((Login { tenant: Some(TenantSlug::parse(tenant)?), name: AccountName::parse(name)? }, role))
}
