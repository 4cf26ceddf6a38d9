//! Keys of other people's programs, for who manages their accounts: to see them, and to end them. Nobody makes keys for
//! another.

use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;

use super::api_keys::{ApiKeyItem, ApiKeyListResponse, ApiKeyRevoked, ApiKeyRevokedResponse};
use super::caller::{Accounts as AccountsScope, Caller, Tenants as TenantsScope};
use super::{Context, Tag};
use crate::domain::{AccountName, Error, Kind, Result};
use crate::policy::AccountsGrant;
use crate::store::{AccountInfo, Asker, Object};

pub struct AccountKeys(pub Context);

#[OpenApi(tag = "Tag::Administration")]
impl AccountKeys {
    /// List an account's API keys
    ///
    /// Of an account of the caller's tenant, or of a platform administrator; without their secrets.
    #[oai(path = "/accounts/:name/api-keys", method = "get", operation_id = "listAccountApiKeys")]
    async fn list(
        &self,
        who: Caller<AccountsScope>,
        /// The account's name within the tenant.
        name: Path<String>,
    ) -> poem::Result<Json<ApiKeyListResponse>> {
        self.listed(&self.0.policy.accounts(who.principal(), who.scope())?, &name).await
    }

    /// Revoke an account's API key
    ///
    /// From now on it is good for nothing, and so are tokens that it was given.
    #[oai(path = "/accounts/:name/api-keys/:id", method = "delete", operation_id = "revokeAccountApiKey")]
    async fn revoke(
        &self,
        who: Caller<AccountsScope>,
        /// The account's name within the tenant.
        name: Path<String>,
        /// The key's public identifier.
        id: Path<String>,
    ) -> poem::Result<Json<ApiKeyRevokedResponse>> {
        let grant = self.0.policy.accounts(who.principal(), who.scope())?;
        self.revoked(who.principal(), &grant, &name, id.0).await
    }

    /// List the API keys of a tenant's account
    ///
    /// For platform administrators.
    #[oai(path = "/tenants/:slug/accounts/:name/api-keys", method = "get", operation_id = "listTenantAccountApiKeys")]
    async fn list_in(
        &self,
        who: Caller<TenantsScope>,
        /// The tenant.
        slug: Path<String>,
        /// The account's name within the tenant.
        name: Path<String>,
    ) -> poem::Result<Json<ApiKeyListResponse>> {
        self.listed(&self.0.policy.accounts_of(who.principal(), who.scope(), &slug).await?, &name).await
    }

    /// Revoke an API key of a tenant's account
    ///
    /// For platform administrators.
    #[oai(
        path = "/tenants/:slug/accounts/:name/api-keys/:id",
        method = "delete",
        operation_id = "revokeTenantAccountApiKey"
    )]
    async fn revoke_in(
        &self,
        who: Caller<TenantsScope>,
        /// The tenant.
        slug: Path<String>,
        /// The account's name within the tenant.
        name: Path<String>,
        /// The key's public identifier.
        id: Path<String>,
    ) -> poem::Result<Json<ApiKeyRevokedResponse>> {
        let grant = self.0.policy.accounts_of(who.principal(), who.scope(), &slug).await?;
        self.revoked(who.principal(), &grant, &name, id.0).await
    }
}

impl AccountKeys {
    async fn listed(&self, grant: &AccountsGrant, name: &str) -> poem::Result<Json<ApiKeyListResponse>> {
        let keys = self.0.store.api_keys(&self.account(grant, name).await?.id).await?;
        let now_ms = self.0.world.now_ms();
        Ok(ApiKeyListResponse::of(keys.into_iter().map(|key| ApiKeyItem::of(key, None, now_ms)).collect()))
    }

    async fn revoked(
        &self,
        asker: &Asker,
        grant: &AccountsGrant,
        name: &str,
        id: String,
    ) -> poem::Result<Json<ApiKeyRevokedResponse>> {
        let account = self.account(grant, name).await?;
        grant.may_touch(account.role)?;
        // One's own keys are one's own to end, but not a key's.
        if asker.key_id.is_some() {
            grant.not_oneself(&account.login)?;
        }
        let key = self.0.store.api_key(&account.id, &id).await?.ok_or_else(Error::no_key)?;
        let asker = asker.noting(format!("of {}", account.login));
        let entry = self.0.policy.announce_end(&asker, Object::from(&key).of(grant.tenant())).await?;
        if !self.0.store.delete_api_key(&account.id, &id, &entry).await? {
            return Err(Error::no_key().into());
        }
        Ok(ApiKeyRevokedResponse::of(ApiKeyRevoked { id, revoked: true }))
    }

    async fn account(&self, grant: &AccountsGrant, name: &str) -> Result<AccountInfo> {
        let absent = || Error::new(Kind::NotFound, "no such account");
        let login = grant.login(AccountName::parse(name).map_err(|_| absent())?);
        self.0.store.account_info(&login).await?.ok_or_else(absent)
    }
}
