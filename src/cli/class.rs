//! `podgate class …`: a tenant and an account for each student.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;

use super::tenants::Means;
use super::{ConfigFile, Failure, announce, load};
use crate::app::{self, Opened};
use crate::domain::{AccountName, Error, Kind, Login, Role, Tenant, TenantSlug};
use crate::store::{Entry, NewAccount, Object, Outcome, Store};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make what a file of lines TENANT,ACCOUNT[,ROLE] names, and print each account with its new password, once.
    ///
    /// The role is operator where a line has none; several accounts may share a tenant. Nothing is made if any line is
    /// wrong or any account exists. Tenants that exist stay as they are: what is given here is for new ones, and `tenant
    /// allow` changes the others.
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
    let world = app::world();
    let Opened { store, auth, .. } = app::open(&config, world).await?;
    let mut taken = Vec::new();
    for (login, _) in &accounts {
        if store.account_info(login).await?.is_some() {
            taken.push(login.to_string());
        }
    }
    if !taken.is_empty() {
        return Err(Error::new(Kind::Conflict, format!("these exist already: {}", taken.join(", "))).into());
    }
    let mut credentials = String::from("username,password\n");
    let (mut class, all) = (Vec::new(), accounts.len());
    for (login, role) in accounts {
        let password = crate::auth::new_password();
        credentials.push_str(&format!("{login},{password}\n"));
        let (id, password_hash) = ((world.new_id)(), auth.hash_password(password).await?);
        class.push(NewAccount { id, login, role, password_hash });
        // One after the other, which takes a class its time.
        if class.len() % 25 == 0 {
            eprintln!("{} of {all} passwords hashed", class.len());
        }
    }
    // Before there are any: an account whose password nobody saw would be worse than a password without an account.
    let mut out = std::io::stdout().lock();
    let printed = out.write_all(credentials.as_bytes()).and_then(|()| out.flush());
    printed
        .map_err(|error| Error::internal(format!("the passwords could not be printed; nothing was made: {error}")))?;
    let tenants = Tenants::of(&store, &class, world.new_id).await?;
    let old = tenants.old();
    if !old.is_empty() && means.any() {
        eprintln!("podgate: these tenants exist and stay as they are (see `podgate tenant allow`): {}", old.join(", "));
    }
    let entries = announced(&store, &class, &tenants).await?;
    let made = store.create_accounts((&tenants.new, &means.wanted()), &class, &entries).await;
    entries.iter().for_each(|entry| entry.end(Outcome::of(&made)));
    store.flush_audit().await;
    Ok(made.inspect_err(|_| eprintln!("podgate: nothing was made; the passwords above are void"))?)
}

/// The tenants of a class: what is announced of an account says whose it will be, so that they can read it.
struct Tenants {
    all: BTreeMap<String, Tenant>,
    new: Vec<Tenant>,
}

impl Tenants {
    async fn of(store: &Store, class: &[NewAccount], new_id: fn() -> String) -> Result<Self, Error> {
        let mut tenants = Self { all: BTreeMap::new(), new: Vec::new() };
        for slug in class.iter().filter_map(|account| account.login.tenant.as_ref()) {
            if tenants.all.contains_key(slug.as_str()) {
                continue;
            }
            let known = store.tenant(slug).await?;
            let tenant = known.unwrap_or_else(|| {
                let new = Tenant { id: new_id(), slug: slug.clone() };
                tenants.new.push(new.clone());
                new
            });
            tenants.all.insert(slug.to_string(), tenant);
        }
        Ok(tenants)
    }

    /// Names of those that were there before.
    fn old(&self) -> Vec<&str> {
        let is_new = |slug: &&str| self.new.iter().any(|new| new.slug.as_str() == *slug);
        self.all.keys().map(String::as_str).filter(|slug| !is_new(slug)).collect()
    }
}

/// Says in the audit log what will be made.
async fn announced(store: &Store, class: &[NewAccount], tenants: &Tenants) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for tenant in &tenants.new {
        let object = Object::named("tenant", tenant.slug.as_str()).with_id(&tenant.id);
        entries.push(announce(store, "createTenant", object).await?);
    }
    for NewAccount { id, login, .. } in class {
        let tenant = login.tenant.as_ref().and_then(|slug| tenants.all.get(slug.as_str()));
        let object = Object::named("account", login.to_string()).with_id(id).of(tenant);
        entries.push(announce(store, "createAccount", object).await?);
    }
    Ok(entries)
}

/// The accounts of the file, or all that is wrong with it.
fn parse(text: &str) -> Result<Vec<(Login, Role)>, Error> {
    let (mut accounts, mut seen, mut wrong) = (Vec::new(), BTreeSet::new(), Vec::new());
    let mut is_first = true;
    // Spreadsheets begin a file with a byte order mark.
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let is_heading = line.to_ascii_lowercase().replace('"', "").starts_with("tenant,");
        if std::mem::take(&mut is_first) && is_heading {
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
    // What is quoted needs no quotes: no name has a comma.
    let unquoted = |field: &'_ str| -> String {
        let field = field.trim();
        field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(field).to_owned()
    };
    let fields: Vec<String> = line.split(',').map(unquoted).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let (tenant, name, role) = match fields[..] {
        [tenant, name] | [tenant, name, ""] => (tenant, name, "operator"),
        [tenant, name, role] => (tenant, name, role),
        _ => return Err("a line is TENANT,ACCOUNT or TENANT,ACCOUNT,ROLE".into()),
    };
    let role = match role.parse::<Role>() {
        Ok(Role::Platform) => return Err("a platform administrator belongs to no tenant".into()),
        Ok(role) => role,
        Err(_) => return Err("a role is one of viewer, operator, admin".into()),
    };
    Ok((Login { tenant: Some(TenantSlug::parse(tenant)?), name: AccountName::parse(name)? }, role))
}
