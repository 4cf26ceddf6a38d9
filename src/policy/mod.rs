//! Who may do what: a principal and a parsed request become a grant, or a refusal.
//!
//! The default is deny. A container that is foreign and one that never existed are told apart by nothing.

mod admission;
pub mod grant;
pub mod spec;

use crate::config;
use crate::domain::{Error, ImageRef, ImageRequest, Kind, Principal, Result, Scope};
use crate::store::{Container, PublishedPort, State, Store};

pub use admission::{CreateRequest, PortRequest};
use grant::{ContainerGrant, CreateGrant, SystemGrant, TenantGrant};

/// Makes grants from what the records say.
#[derive(Clone)]
pub struct Policy {
    store: Store,
    containers: config::Containers,
    aliases: std::sync::Arc<std::collections::BTreeMap<ImageRequest, ImageRef>>,
}

/// What will be done with a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Look at it.
    Read,
    /// Change it, or something in it.
    Change,
    /// Take it away; the only intent that one half-removed still admits.
    Remove,
}

impl Policy {
    /// Policy over these records.
    pub fn new(config: &config::Config, store: Store) -> Self {
        let aliases = std::sync::Arc::new(config.image_aliases.clone());
        Self { store, containers: config.containers.clone(), aliases }
    }

    /// Whether the principal's role holds the scope. `Forbidden` if not.
    pub fn check_scope(principal: &Principal, scope: Scope) -> Result<()> {
        if principal.role.scopes().contains(&scope) {
            return Ok(());
        }
        let message = format!(
            "this needs the scope {}, which the role {} does not hold",
            scope.as_str(),
            principal.role.as_str()
        );
        Err(Error::new(Kind::Forbidden, message))
    }

    /// Leave to work within the principal's tenant.
    pub fn in_tenant(&self, principal: &Principal, scope: Scope) -> Result<TenantGrant> {
        Self::check_scope(principal, scope)?;
        let nowhere = || Error::new(Kind::Forbidden, "a platform administrator belongs to no tenant");
        let tenant = principal.tenant.clone().ok_or_else(nowhere)?;
        Ok(TenantGrant { principal: principal.clone(), tenant })
    }

    /// Leave to act on the container that the principal's tenant calls by this name or id.
    pub async fn container(
        &self,
        principal: &Principal,
        scope: Scope,
        intent: Intent,
        name_or_id: &str,
    ) -> Result<ContainerGrant> {
        let within = self.in_tenant(principal, scope)?;
        let found = self.store.container(within.tenant(), name_or_id).await?;
        let row = found.ok_or_else(Error::no_container)?;
        if row.state == State::Removing && intent == Intent::Change {
            return Err(Error::new(Kind::Conflict, "the container is being removed"));
        }
        let engine_id = row.engine_id.clone().ok_or_else(Error::no_container)?;
        Ok(ContainerGrant { row, engine_id })
    }

    /// Leave to look at all containers of the principal's tenant.
    pub async fn containers(&self, principal: &Principal) -> Result<Vec<ContainerGrant>> {
        let within = self.in_tenant(principal, Scope::ContainersRead)?;
        let rows = self.store.containers(within.tenant()).await?;
        let granted = |row: Container| row.engine_id.clone().map(|engine_id| ContainerGrant { row, engine_id });
        Ok(rows.into_iter().filter_map(granted).collect())
    }

    /// The ports that a container publishes.
    pub async fn published_ports(&self, grant: &ContainerGrant) -> Result<Vec<PublishedPort>> {
        self.store.published_ports(grant.tenant(), &grant.row().id).await
    }

    /// Leave to create what was asked for, if the tenant may use its image.
    pub async fn create(&self, principal: &Principal, request: CreateRequest) -> Result<CreateGrant> {
        let within = self.in_tenant(principal, Scope::ContainersWrite)?;
        let admitted = admission::admit(&self.containers, request)?;
        let image = self.allowed_image(&within, &admitted.image).await?;
        let (name, spec) = admitted.with_image(image, &self.containers);
        Ok(CreateGrant { within, name, spec })
    }

    /// The reference that the tenant's request means: its alias, the installation's, or the text as it stands, and in
    /// each case on the tenant's list (SECURITY rules 5 and 23). An empty list allows nothing.
    async fn allowed_image(&self, within: &TenantGrant, asked: &ImageRequest) -> Result<ImageRef> {
        let images = self.store.image_policy(within.tenant()).await?;
        let alias = images.aliases.get(asked).or_else(|| self.aliases.get(asked)).cloned();
        let reference = alias.or_else(|| ImageRef::parse(asked.as_str()).ok());
        reference
            .filter(|reference| images.allowed.contains(reference))
            .ok_or_else(|| Error::new(Kind::Forbidden, format!("the image {:?} is not allowed here", asked.as_str())))
    }
}

/// The program's own leave to clean up. For `app` to hand to the jobs.
pub fn system() -> SystemGrant {
    SystemGrant(())
}
