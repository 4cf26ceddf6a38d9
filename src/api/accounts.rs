//! Accounts: those beside the caller's own, and those of any tenant for who manages tenants.

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::caller::{Accounts as AccountsScope, Anyone, Caller, Tenants as TenantsScope};
use super::json::Strict;
use super::model::answer;
use super::{Context, Tag};
use crate::auth::check_new_password;
use crate::domain::{AccountName, Attempt, Details, Error, Kind, Login, Result, timestamp_ms};
use crate::policy::AccountsGrant;
use crate::store::{AccountChange, AccountInfo, Asker};

pub struct Accounts(pub Context);

/// The account to make.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct CreateAccountRequest {
    /// Name within the tenant: a-z, 0-9, `.`, `_`, `-` and `@`, at most 63.
    name: String,
    /// viewer, operator or admin; platform for platform administrators.
    role: String,
    /// 8 characters at least.
    #[oai(write_only)]
    password: String,
}

impl Example for CreateAccountRequest {
    fn example() -> Self {
        Self { name: "bob".into(), role: "operator".into(), password: "correct horse battery staple".into() }
    }
}

/// What to change of an account. What is left out stays.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct ChangeAccountRequest {
    /// Another role.
    role: Option<String>,
    /// Whether it may not sign in.
    disabled: Option<bool>,
    /// Another password, 8 characters at least.
    #[oai(write_only)]
    password: Option<String>,
}

impl Example for ChangeAccountRequest {
    fn example() -> Self {
        Self { role: Some("viewer".into()), disabled: None, password: None }
    }
}

/// One's own new password.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct ChangePasswordRequest {
    /// The password as it is.
    #[oai(write_only)]
    password: String,
    /// The password to be, 8 characters at least.
    #[oai(write_only)]
    new_password: String,
}

impl Example for ChangePasswordRequest {
    fn example() -> Self {
        Self { password: "correct horse battery staple".into(), new_password: "staple battery horse correct".into() }
    }
}

/// An account.
#[derive(Object)]
struct AccountItem {
    /// Name within the tenant.
    name: String,
    /// What it signs in with.
    username: String,
    /// viewer, operator, admin or platform.
    role: String,
    /// Whether it may not sign in.
    disabled: bool,
    /// When it was made, RFC 3339.
    created: String,
    /// The identity provider that vouches for it, its `iss`; none where it has a password.
    #[oai(skip_serializing_if_is_none)]
    issuer: Option<String>,
    /// What that provider calls the person, its `sub`.
    #[oai(skip_serializing_if_is_none)]
    subject: Option<String>,
}

/// An account that is gone.
#[derive(Object)]
struct AccountRemoved {
    /// Name it had.
    name: String,
    /// Always true.
    removed: bool,
}

fn sample() -> AccountItem {
    AccountItem {
        name: "bob".into(),
        username: "acme/bob".into(),
        role: "operator".into(),
        disabled: false,
        created: "2025-01-19T15:47:19.123000Z".into(),
        issuer: None,
        subject: None,
    }
}

answer! {
    /// An account.
    AccountResponse { account: AccountItem }
    example sample()
}
answer! {
    /// Accounts, by name.
    AccountListResponse { accounts: Vec<AccountItem> }
    example vec![sample()]
}
answer! {
    /// The account is gone.
    AccountRemovedResponse { account: AccountRemoved }
    example AccountRemoved { name: "bob".into(), removed: true }
}
answer! {
    /// The password is another one now.
    PasswordChangedResponse { changed: bool }
    example true
}

impl From<AccountInfo> for AccountItem {
    fn from(account: AccountInfo) -> Self {
        let (issuer, subject) = account.identity.unzip();
        Self {
            name: account.login.name.to_string(),
            username: account.login.to_string(),
            role: account.role.as_str().into(),
            disabled: account.disabled,
            created: timestamp_ms(account.created_ms),
            issuer,
            subject,
        }
    }
}

#[OpenApi(tag = "Tag::Administration")]
impl Accounts {
    /// Create an account
    ///
    /// In the caller's tenant; a platform administrator makes platform administrators. Nobody gives a role that holds
    /// more than they do.
    #[oai(path = "/accounts", method = "post", operation_id = "createAccount")]
    async fn create(
        &self,
        who: Caller<AccountsScope>,
        body: Strict<CreateAccountRequest>,
    ) -> poem::Result<Json<AccountResponse>> {
        let grant = self.0.policy.accounts(who.principal(), who.scope())?;
        self.make(who.principal(), grant, body.0, who.attempt()).await
    }

    /// List accounts
    ///
    /// Of the caller's tenant, or the platform administrators.
    #[oai(path = "/accounts", method = "get", operation_id = "listAccounts")]
    async fn list(&self, who: Caller<AccountsScope>) -> poem::Result<Json<AccountListResponse>> {
        self.listed(self.0.policy.accounts(who.principal(), who.scope())?).await
    }

    /// Change an account
    ///
    /// Its role, whether it may sign in, its password. Its sessions and tokens end; its keys stay, and do what its new role
    /// may.
    #[oai(path = "/accounts/:name", method = "patch", operation_id = "changeAccount")]
    async fn change(
        &self,
        who: Caller<AccountsScope>,
        /// The account's name within the tenant.
        name: Path<String>,
        body: Strict<ChangeAccountRequest>,
    ) -> poem::Result<Json<AccountResponse>> {
        let grant = self.0.policy.accounts(who.principal(), who.scope())?;
        self.changed(who.principal(), grant, &name, body.0).await
    }

    /// Remove an account
    ///
    /// With its keys and sessions. What it made stays its tenant's.
    #[oai(path = "/accounts/:name", method = "delete", operation_id = "removeAccount")]
    async fn remove(
        &self,
        who: Caller<AccountsScope>,
        /// The account's name within the tenant.
        name: Path<String>,
    ) -> poem::Result<Json<AccountRemovedResponse>> {
        self.removed(who.principal(), self.0.policy.accounts(who.principal(), who.scope())?, &name).await
    }

    /// Create an account of a tenant
    ///
    /// For platform administrators.
    #[oai(path = "/tenants/:slug/accounts", method = "post", operation_id = "createTenantAccount")]
    async fn create_in(
        &self,
        who: Caller<TenantsScope>,
        /// The tenant.
        slug: Path<String>,
        body: Strict<CreateAccountRequest>,
    ) -> poem::Result<Json<AccountResponse>> {
        let grant = self.0.policy.accounts_of(who.principal(), who.scope(), &slug).await?;
        self.make(who.principal(), grant, body.0, who.attempt()).await
    }

    /// List a tenant's accounts
    ///
    /// For platform administrators.
    #[oai(path = "/tenants/:slug/accounts", method = "get", operation_id = "listTenantAccounts")]
    async fn list_in(
        &self,
        who: Caller<TenantsScope>,
        /// The tenant.
        slug: Path<String>,
    ) -> poem::Result<Json<AccountListResponse>> {
        self.listed(self.0.policy.accounts_of(who.principal(), who.scope(), &slug).await?).await
    }

    /// Change a tenant's account
    ///
    /// For platform administrators.
    #[oai(path = "/tenants/:slug/accounts/:name", method = "patch", operation_id = "changeTenantAccount")]
    async fn change_in(
        &self,
        who: Caller<TenantsScope>,
        /// The tenant.
        slug: Path<String>,
        /// The account's name within the tenant.
        name: Path<String>,
        body: Strict<ChangeAccountRequest>,
    ) -> poem::Result<Json<AccountResponse>> {
        let grant = self.0.policy.accounts_of(who.principal(), who.scope(), &slug).await?;
        self.changed(who.principal(), grant, &name, body.0).await
    }

    /// Remove a tenant's account
    ///
    /// For platform administrators.
    #[oai(path = "/tenants/:slug/accounts/:name", method = "delete", operation_id = "removeTenantAccount")]
    async fn remove_in(
        &self,
        who: Caller<TenantsScope>,
        /// The tenant.
        slug: Path<String>,
        /// The account's name within the tenant.
        name: Path<String>,
    ) -> poem::Result<Json<AccountRemovedResponse>> {
        let grant = self.0.policy.accounts_of(who.principal(), who.scope(), &slug).await?;
        self.removed(who.principal(), grant, &name).await
    }

    /// Change my password
    ///
    /// Ends all sessions of the account, this one too.
    #[oai(path = "/auth/password", method = "post", operation_id = "changePassword")]
    async fn password(
        &self,
        who: Caller<Anyone>,
        body: Strict<ChangePasswordRequest>,
    ) -> poem::Result<Json<PasswordChangedResponse>> {
        let ChangePasswordRequest { password, new_password } = body.0;
        let mut wrong = Details::default();
        check_password("new_password", &new_password, &mut wrong);
        wrong.finish()?;
        self.0.auth.change_password(who.principal(), &password, new_password).await?;
        Ok(PasswordChangedResponse::of(true))
    }
}

fn check_password(field: &str, password: &str, wrong: &mut Details) {
    let checked = check_new_password(password).map_err(|error| error.message.into_owned());
    wrong.take(field, checked);
}

impl Accounts {
    async fn make(
        &self,
        asker: &Asker,
        grant: AccountsGrant,
        body: CreateAccountRequest,
        attempt: Option<&Attempt>,
    ) -> poem::Result<Json<AccountResponse>> {
        let mut wrong = Details::default();
        let name = wrong.take("name", AccountName::parse(&body.name));
        let role = role(&grant, &body.role, &mut wrong)?;
        check_password("password", &body.password, &mut wrong);
        let (Some(name), Some(role)) = (name, role) else { return Err(wrong.into_error().into()) };
        wrong.finish()?;
        let login = grant.login(name);
        if let Some((attempt, id)) = Attempt::earlier(attempt)
            && let Some(made) = self.0.store.account_info(&login).await?.filter(|account| account.id == id)
        {
            attempt.was_made();
            return Ok(AccountResponse::of(made.into()));
        }
        let hash = self.0.auth.hash_password(body.password).await?;
        let asker = asker.noting(format!("role {}", role.as_str()));
        let entry = self.0.policy.announce(&asker, grant.object(&login)).await?;
        self.0.store.create_account(&login, role, &hash, attempt, &entry).await?;
        Ok(AccountResponse::of(self.found(&login).await?.into()))
    }

    async fn listed(&self, grant: AccountsGrant) -> poem::Result<Json<AccountListResponse>> {
        let accounts = self.0.store.accounts(grant.tenant()).await?;
        Ok(AccountListResponse::of(accounts.into_iter().map(AccountItem::from).collect()))
    }

    async fn changed(
        &self,
        asker: &Asker,
        grant: AccountsGrant,
        name: &str,
        body: ChangeAccountRequest,
    ) -> poem::Result<Json<AccountResponse>> {
        let account = self.target(&grant, name).await?;
        let mut wrong = Details::default();
        let role = match &body.role {
            Some(text) => role(&grant, text, &mut wrong)?,
            None => None,
        };
        if let Some(password) = &body.password {
            check_password("password", password, &mut wrong);
        }
        wrong.finish()?;
        let password_hash = match body.password {
            Some(password) => Some(self.0.auth.hash_password(password).await?),
            None => None,
        };
        let change = AccountChange { role, disabled: body.disabled, password_hash };
        let object = grant.object(&account.login).with_id(&account.id);
        let asker = asker.noting(change.to_string());
        let entry = match change.only_disables() {
            true => self.0.policy.announce_end(&asker, object).await?,
            false => self.0.policy.announce(&asker, object).await?,
        };
        self.0.store.change_account(&account, &change, &entry).await?;
        Ok(AccountResponse::of(self.found(&account.login).await?.into()))
    }

    async fn removed(
        &self,
        asker: &Asker,
        grant: AccountsGrant,
        name: &str,
    ) -> poem::Result<Json<AccountRemovedResponse>> {
        let account = self.target(&grant, name).await?;
        let object = grant.object(&account.login).with_id(&account.id);
        let entry = self.0.policy.announce_end(asker, object).await?;
        self.0.store.delete_account(&account, &entry).await?;
        Ok(AccountRemovedResponse::of(AccountRemoved { name: account.login.name.to_string(), removed: true }))
    }

    /// An account that exists, is not the caller's own, and holds no more than the caller does.
    async fn target(&self, grant: &AccountsGrant, name: &str) -> Result<AccountInfo> {
        let login = grant.login(AccountName::parse(name).map_err(|_| no_account())?);
        let account = self.found(&login).await?;
        grant.not_oneself(&login)?;
        grant.may_touch(account.role)?;
        Ok(account)
    }

    async fn found(&self, login: &Login) -> Result<AccountInfo> {
        self.0.store.account_info(login).await?.ok_or_else(no_account)
    }
}

/// A role that goes with these accounts; what is wrong with its text goes to `wrong`.
fn role(grant: &AccountsGrant, text: &str, wrong: &mut Details) -> Result<Option<crate::domain::Role>> {
    match grant.role(text) {
        Err(error) if error.kind == Kind::Invalid => {
            wrong.add("role", error.message.into_owned());
            Ok(None)
        }
        other => other.map(Some),
    }
}

fn no_account() -> Error {
    Error::new(Kind::NotFound, "no such account")
}
