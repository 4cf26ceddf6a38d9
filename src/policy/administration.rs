//! Who may manage which accounts and tenants. Nobody gives what they do not hold, and nobody changes themselves.

use super::Policy;
use crate::domain::{AccountName, Error, Kind, Login, Principal, Result, Role, Scope, Tenant, TenantSlug};
use crate::store::Object;

/// Leave to manage the accounts of one tenant, or the platform administrators.
pub struct AccountsGrant {
    principal: Principal,
    tenant: Option<Tenant>,
}

impl AccountsGrant {
    /// Whose accounts; none: the platform's.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }

    /// What an account of that name signs in with.
    pub fn login(&self, name: AccountName) -> Login {
        Login { tenant: self.tenant.as_ref().map(|tenant| tenant.slug.clone()), name }
    }

    /// The account, as the audit log names it.
    pub fn object(&self, login: &Login) -> Object {
        Object::named("account", login.to_string()).of(self.tenant.as_ref())
    }

    /// The role that this text names, if it goes with these accounts and the principal may give it.
    pub fn role(&self, text: &str) -> Result<Role> {
        let role: Role = text.parse().map_err(Error::invalid)?;
        if (role == Role::Platform) != self.tenant.is_none() {
            let roles = if self.tenant.is_none() { "platform" } else { "viewer, operator or admin" };
            return Err(Error::invalid(format!("the role of these accounts is {roles}")));
        }
        self.may_touch(role)?;
        Ok(role)
    }

    /// Whether the principal may change an account of this role: none that holds more than it does itself.
    pub fn may_touch(&self, role: Role) -> Result<()> {
        let holds = |role: Role| role.scopes().iter().all(|scope| self.principal.scopes.contains(scope));
        let runs_the_platform = self.principal.role == Role::Platform && holds(Role::Platform);
        if runs_the_platform || holds(role) {
            return Ok(());
        }
        Err(Error::new(Kind::Forbidden, format!("the role {} holds more than you do", role.as_str())))
    }

    /// Refuses the principal's own account: what it is, others decide.
    pub fn not_oneself(&self, login: &Login) -> Result<()> {
        if *login == self.principal.login {
            return Err(Error::new(Kind::Forbidden, "this is your own account; another administrator may change it"));
        }
        Ok(())
    }
}

/// Leave to read who did what, of one tenant or of all.
pub struct AuditGrant {
    tenant: Option<Tenant>,
}

impl AuditGrant {
    /// Whose entries; none: everybody's.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }
}

impl Policy {
    /// Leave to read the audit log: a tenant's part of it, or all of it for the platform.
    pub fn audit(&self, principal: &Principal, scope: Scope) -> Result<AuditGrant> {
        Self::check_scope(principal, scope)?;
        match (&principal.tenant, principal.role) {
            (Some(tenant), _) => Ok(AuditGrant { tenant: Some(tenant.clone()) }),
            (None, Role::Platform) => Ok(AuditGrant { tenant: None }),
            (None, _) => Err(Error::internal("a principal without a tenant that is not the platform's")),
        }
    }

    /// Leave to manage the accounts beside the principal's own.
    pub fn accounts(&self, principal: &Principal, scope: Scope) -> Result<AccountsGrant> {
        Self::check_scope(principal, scope)?;
        Ok(AccountsGrant { principal: principal.clone(), tenant: principal.tenant.clone() })
    }

    /// Leave to manage the accounts of a tenant, for who manages tenants.
    pub async fn accounts_of(&self, principal: &Principal, scope: Scope, slug: &str) -> Result<AccountsGrant> {
        let tenant = self.tenant(principal, scope, slug).await?;
        Ok(AccountsGrant { principal: principal.clone(), tenant: Some(tenant) })
    }

    /// The tenant of this name, for who manages tenants.
    pub async fn tenant(&self, principal: &Principal, scope: Scope, slug: &str) -> Result<Tenant> {
        Self::check_scope(principal, scope)?;
        let found = match TenantSlug::parse(slug) {
            Ok(slug) => self.store.tenant(&slug).await?,
            Err(_) => None,
        };
        found.ok_or_else(|| Error::new(Kind::NotFound, "no such tenant"))
    }

    /// Whether the configuration has a profile of this name.
    pub fn has_profile(&self, name: &str) -> bool {
        self.rules.get().profiles.contains_key(name)
    }
}
