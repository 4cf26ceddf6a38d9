//! Who may do what: a principal and a parsed request become a grant, or a refusal.
//!
//! The default is deny. A container that is foreign and one that never existed are told apart by nothing.

mod administration;
mod admission;
mod charge;
pub mod grant;
mod intent;
mod offer;
mod places;
pub mod spec;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::{self, Config, Live, Profile, Share};
use crate::domain::{
    Details, Error, ImagePattern, ImageRef, ImageRequest, Kind, Mount, MountSource, Principal, PublishedPort,
    PullPolicy, Resource, Result, Scope, Tenant, VolumeName, WantedMount,
};
use crate::store::{Asker, Container, Entry, ImagePolicy, Object, Room, Store, Usage, Volume, exceeded};

pub use administration::{AccountsGrant, AuditGrant};
pub use admission::{CreateRequest, LimitsRequest, PortRequest};
pub use charge::Charge;
use grant::{Audited, ContainerGrant, CreateGrant, ImageGrant, TenantGrant, VolumeGrant};
pub use intent::{Change, Clear, Intent, Read, Remove, Stop};
pub use offer::{Offer, Shared};
pub use places::Place;
use places::{Full, Places};
use spec::USER_IDS;

/// How many commands may wait for each that may run.
const EXEC_QUEUE: i64 = 4;

/// The profile every tenant may use.
const DEFAULT_PROFILE: &str = "default";

/// Makes grants from what the records say.
#[derive(Clone)]
pub struct Policy {
    store: Store,
    rules: Live<Rules>,
    first_user_id: Option<u32>,
    exec_bytes: usize,
    places: Places,
}

/// What the configuration says of what tenants may have; it may change while the program runs.
struct Rules {
    profiles: BTreeMap<String, Profile>,
    images: config::Images,
    shares: BTreeMap<String, Share>,
    /// Those of the gateway, which nobody gets.
    own_ports: BTreeSet<u16>,
}

impl From<&Config> for Rules {
    fn from(config: &Config) -> Self {
        Self {
            profiles: config.profiles.clone(),
            images: config.images.clone(),
            shares: config.shares.clone(),
            own_ports: config.own_ports(),
        }
    }
}

impl Rules {
    /// The profile of that name, or the default one.
    fn profile(&self, name: &str) -> Result<&Profile> {
        let found = self.profiles.get(name).or_else(|| self.profiles.get(DEFAULT_PROFILE));
        found.ok_or_else(|| Error::internal("there is no default profile"))
    }

    /// What was asked for, if the installation goes as far.
    fn within_pull(&self, asked: PullPolicy) -> Result<PullPolicy> {
        if asked <= self.images.pull {
            return Ok(asked);
        }
        Err(Error::new(Kind::Forbidden, "this installation does not pull images so; ask its administrator"))
    }
}

impl Policy {
    /// Policy over these records.
    pub fn new(config: &Config, store: Store) -> Self {
        Self {
            store,
            rules: Live::new(config.into()),
            first_user_id: config.engine.first_user_id,
            exec_bytes: config.output.exec_bytes,
            places: Places::default(),
        }
    }

    /// Goes by this configuration from now on.
    pub fn reload(&self, config: &Config) {
        let mut rules = Rules::from(config);
        // Where it listens changes with the next start only.
        rules.own_ports.extend(&self.rules.get().own_ports);
        self.rules.set(rules);
    }

    /// Commands that run and streams that are open, of all tenants.
    pub fn momentary(&self) -> (i64, i64) {
        (self.places.all(Resource::Execs), self.places.all(Resource::Streams))
    }

    /// Whether the principal holds the scope. `Forbidden` if not.
    pub fn check_scope(principal: &Principal, scope: Scope) -> Result<()> {
        if principal.scopes.contains(&scope) {
            return Ok(());
        }
        let holder = if principal.role.scopes().contains(&scope) {
            "this key".to_owned()
        } else {
            format!("the role {}", principal.role.as_str())
        };
        let message = format!("this needs the scope {}, which {holder} does not hold", scope.as_str());
        Err(Error::new(Kind::NoScope(scope), message))
    }

    /// Leave to work within the principal's tenant.
    pub fn in_tenant(&self, principal: &Principal, scope: Scope) -> Result<TenantGrant> {
        Self::check_scope(principal, scope)?;
        let nowhere = || Error::new(Kind::Forbidden, "a platform administrator belongs to no tenant");
        let tenant = principal.tenant.clone().ok_or_else(nowhere)?;
        Ok(TenantGrant { principal: principal.clone(), tenant })
    }

    /// Leave to act on the container that the principal's tenant calls by this name or id. Announced where it is more
    /// than looking.
    pub async fn container<I: Intent>(
        &self,
        asker: &Asker,
        scope: Scope,
        intent: I,
        name_or_id: &str,
    ) -> Result<I::Grant> {
        let within = self.in_tenant(asker, scope)?;
        let found = self.store.container(within.tenant(), name_or_id).await?;
        let row = found.ok_or_else(Error::no_container)?;
        intent.check(&row)?;
        let engine_id = row.engine_id.clone().ok_or_else(Error::no_container)?;
        if scope == Scope::Files && I::NEEDS_ROOM {
            self.store.check_stored(within.tenant()).await?;
        }
        if row.idle_seconds.is_some() && matches!(scope, Scope::Exec | Scope::Files) {
            self.store.touch_container(&row).await?;
        }
        intent.grant(self, asker, ContainerGrant { row, engine_id }).await
    }

    /// Says in the audit log what a principal that may do it will do; whatever changes something asks for the entry.
    pub async fn announce(&self, asker: &Asker, object: Object) -> Result<Entry> {
        self.store.announce(asker, object, Room::Needed).await
    }

    /// The same of what makes room or takes leave away: that is done even where nothing else can be.
    pub async fn announce_end(&self, asker: &Asker, object: Object) -> Result<Entry> {
        self.store.announce(asker, object, Room::NotNeeded).await
    }

    /// Bytes that a command may say: what was asked for, at most the configuration's.
    pub fn exec_output(&self, asked: Option<i64>, wrong: &mut Details) -> u64 {
        let most = self.exec_bytes as u64;
        let Some(asked) = asked else { return most };
        let bytes = u64::try_from(asked).ok().filter(|bytes| (1..=most).contains(bytes));
        bytes.unwrap_or_else(|| {
            wrong.add("max_output", format!("must be within 1 and {most} bytes"));
            most
        })
    }

    /// How long a command in the container may take: what was asked for, at most the profile's and the tenant's; else
    /// their default, at most as long as an operation.
    pub async fn exec_time(
        &self,
        grant: &ContainerGrant,
        asked: Option<Duration>,
        operation: Duration,
    ) -> Result<Duration> {
        let limits = self.store.tenant_limits(grant.tenant()).await?;
        let bounds = admission::within_tenant(self.rules.get().profile(&grant.row().profile)?, &limits).exec_time;
        match asked {
            None => Ok(bounds.default.min(operation)),
            Some(asked) if asked <= bounds.most => Ok(asked),
            Some(_) => {
                let mut wrong = Details::default();
                wrong.add("timeout", format!("must be at most {} seconds in this container", bounds.most.as_secs()));
                Err(wrong.into_error())
            }
        }
    }

    /// Puts a container's end off, to so many seconds from now within its profile's bound.
    pub async fn renew(&self, grant: &ContainerGrant, expires_in: Option<i64>) -> Result<Option<i64>> {
        let rules = self.rules.get();
        let profile = rules.profile(&grant.row().profile)?;
        let expiry = admission::within_tenant(profile, &self.store.tenant_limits(grant.tenant()).await?).expiry;
        let mut wrong = Details::default();
        let expires_in = admission::expiry(expiry, expires_in, &mut wrong);
        wrong.finish()?;
        self.store.renew_container(grant.row(), expires_in).await
    }

    /// Leave to look at all containers of the principal's tenant.
    pub async fn containers(&self, principal: &Principal) -> Result<Vec<ContainerGrant>> {
        let within = self.in_tenant(principal, Scope::ContainersRead)?;
        let rows = self.store.containers(within.tenant()).await?;
        let granted = |row: Container| row.engine_id.clone().map(|engine_id| ContainerGrant { row, engine_id });
        Ok(rows.into_iter().filter_map(granted).collect())
    }

    /// What the principal's tenant may have and has.
    pub async fn usage(&self, principal: &Principal) -> Result<Vec<Usage>> {
        let within = self.in_tenant(principal, Scope::ContainersRead)?;
        self.usage_of(within.tenant()).await
    }

    /// What a tenant may have and has, for who may know.
    pub async fn usage_of(&self, tenant: &Tenant) -> Result<Vec<Usage>> {
        let mut usage = self.store.usage(tenant).await?;
        for one in usage.iter_mut().filter(|one| one.resource.is_momentary()) {
            one.used = self.places.used(tenant, one.resource);
        }
        Ok(usage)
    }

    /// Waits for one of the tenant's places to run a command in. `RateLimited` where too many wait already, or when the
    /// time is up.
    pub async fn exec_place(&self, tenant: &Tenant, patience: Duration) -> Result<Place> {
        let full = || Error::new(Kind::RateLimited(1), "too many commands of this tenant run at once");
        let wait = async {
            let mut waits = None;
            loop {
                let limit = self.store.quota(tenant, Resource::Execs).await?;
                match self.places.take(tenant, Resource::Execs, limit, limit.saturating_mul(EXEC_QUEUE), waits) {
                    Ok(place) => return Ok(place),
                    Err(Full::Queue) => return Err(full()),
                    Err(Full::Wait(waiting)) => {
                        waiting.freed().await;
                        waits = Some(waiting);
                    }
                }
            }
        };
        tokio::time::timeout(patience, wait).await.map_err(|_| full())?
    }

    /// One of the tenant's places for a stream. `Quota` if all are taken.
    pub async fn stream_place(&self, tenant: &Tenant) -> Result<Place> {
        let limit = self.store.quota(tenant, Resource::Streams).await?;
        let taken = self.places.take(tenant, Resource::Streams, limit, 0, None);
        taken.map_err(|_| exceeded(Resource::Streams, self.places.used(tenant, Resource::Streams), limit, 1))
    }

    /// The ports that a container publishes.
    pub async fn published_ports(&self, grant: &ContainerGrant) -> Result<Vec<PublishedPort>> {
        self.store.published_ports(grant.tenant(), &grant.row().id).await
    }

    /// Leave to create what was asked for, if the tenant may use its image.
    pub async fn create(&self, asker: &Asker, request: CreateRequest) -> Result<Audited<CreateGrant>> {
        let within = self.in_tenant(asker, Scope::ContainersWrite)?;
        let profile_name = request.profile.clone().unwrap_or_else(|| DEFAULT_PROFILE.into());
        // One reading of the rules for the whole request.
        let rules = self.rules.get();
        let given = self.is_given(&within, &rules, &profile_name).await?;
        // The form is checked first, against what the tenant may use: mistakes tell nothing of other profiles.
        let profile = rules.profile(if given { &profile_name } else { DEFAULT_PROFILE })?;
        let profile = &admission::within_tenant(profile, &self.store.tenant_limits(within.tenant()).await?);
        let admitted = admission::admit(profile, &rules.own_ports, request)?;
        if !given {
            return Err(Error::new(Kind::Forbidden, format!("the profile {profile_name:?} is not allowed here")));
        }
        let image = self.images(asker, Scope::ContainersWrite).await?.resolve(&admitted.image)?;
        let pull = match admitted.pull {
            Some(asked) => rules.within_pull(asked)?,
            None => PullPolicy::Missing.min(rules.images.pull),
        };
        let mounts = self.mounts(&within, &rules, &admitted.mounts).await?;
        let first_user_id = self.first_user_id(&within).await?;
        let (name, spec) = admitted.complete((image.reference, pull), (profile_name, profile), mounts, first_user_id);
        let asker = asker.noting(format!("image {}, profile {}", spec.image, spec.profile));
        let entry = self.announce(&asker, Object::named("container", name.as_str())).await?;
        Ok(Audited::new(CreateGrant { within, name, spec }, entry))
    }

    /// Whether the tenant may use the profile. One that does not exist was given to nobody.
    async fn is_given(&self, within: &TenantGrant, rules: &Rules, name: &str) -> Result<bool> {
        Ok(name == DEFAULT_PROFILE
            || (rules.profiles.contains_key(name) && self.store.profiles(within.tenant()).await?.contains(name)))
    }

    /// What the names in `volumes` mean: the tenant's own volumes first, then the shares that were declared for it
    /// (SECURITY rule 15). Anything else is refused, a host path above all.
    async fn mounts(&self, within: &TenantGrant, rules: &Rules, asked: &[(String, WantedMount)]) -> Result<Vec<Mount>> {
        let mut found = Vec::new();
        for (name, WantedMount { target, read_only }) in asked {
            let volume = self.store.volume(within.tenant(), name).await?;
            let share = rules.shares.get(name).filter(|share| share.tenants.contains(&within.tenant().slug));
            let (source, must_be_read_only) = match (volume, share) {
                (Some(volume), _) => (MountSource::Volume(volume.id), false),
                (None, Some(share)) => (MountSource::Share(share.path.clone()), share.read_only),
                (None, None) => {
                    let message = format!("there is no volume {name:?} and no such share for this tenant");
                    return Err(Error::new(Kind::Forbidden, message));
                }
            };
            if must_be_read_only && *read_only == Some(false) {
                return Err(Error::new(Kind::Forbidden, format!("the share {name:?} is only to be read")));
            }
            let read_only = must_be_read_only || read_only.unwrap_or(false);
            found.push(Mount { source, target: target.clone(), read_only });
        }
        Ok(found)
    }

    /// Leave to make a volume of this name.
    pub async fn create_volume(&self, asker: &Asker, scope: Scope, name: &VolumeName) -> Result<Audited<TenantGrant>> {
        let within = self.in_tenant(asker, scope)?;
        let entry = self.announce(asker, Object::named("volume", name.as_str())).await?;
        Ok(Audited::new(within, entry))
    }

    /// Leave to take away the volume that the principal's tenant calls by this name.
    pub async fn remove_volume(&self, asker: &Asker, scope: Scope, name: &str) -> Result<Audited<VolumeGrant>> {
        let within = self.in_tenant(asker, scope)?;
        let row = self.store.volume(within.tenant(), name).await?;
        let row = row.ok_or_else(|| Error::new(Kind::NotFound, "no such volume"))?;
        let entry = self.store.announce(asker, Object::from(&row), Room::NotNeeded).await?;
        Ok(Audited::new(VolumeGrant { row }, entry))
    }

    /// The volumes of the principal's tenant.
    pub async fn volumes(&self, principal: &Principal, scope: Scope) -> Result<Vec<Volume>> {
        let within = self.in_tenant(principal, scope)?;
        self.store.volumes(within.tenant()).await
    }

    /// The images that the principal's tenant may use, and what it calls them.
    pub async fn images(&self, principal: &Principal, scope: Scope) -> Result<AllowedImages> {
        let within = self.in_tenant(principal, scope)?;
        let ImagePolicy { allowed, aliases: own } = self.store.image_policy(within.tenant()).await?;
        // The tenant's own aliases come first: one of the installation's that they cover means something else here.
        let mut aliases = self.rules.get().images.aliases.clone();
        aliases.extend(own);
        Ok(AllowedImages { within, allowed, aliases })
    }

    /// Leave to pull an image that the tenant may use.
    pub async fn pull(
        &self,
        asker: &Asker,
        scope: Scope,
        image: &str,
        asked: Option<&str>,
    ) -> Result<(Audited<ImageGrant>, PullPolicy)> {
        let mut wrong = Details::default();
        let image = wrong.take("image", ImageRequest::parse(image));
        let asked = wrong.take_optional("policy", asked, str::parse);
        let Some(image) = image else { return Err(wrong.into_error()) };
        wrong.finish()?;
        let images = self.images(asker, scope).await?;
        let grant = images.resolve(&image)?;
        let policy = self.rules.get().within_pull(asked.unwrap_or(PullPolicy::Always))?;
        let entry = self.announce(asker, Object::named("image", grant.reference.as_str())).await?;
        Ok((Audited::new(grant, entry), policy))
    }

    /// The first of the tenant's host ids, all of its profiles the same.
    async fn first_user_id(&self, within: &TenantGrant) -> Result<Option<u32>> {
        let Some(first) = self.first_user_id else { return Ok(None) };
        let block = self.store.user_id_block(within.tenant()).await?;
        let id = block.checked_mul(USER_IDS).and_then(|offset| offset.checked_add(first));
        // The kernel's ids end below 2^32 - 1.
        let id = id.filter(|id| id.checked_add(USER_IDS).is_some());
        id.map(Some).ok_or_else(|| Error::internal("there are no user ids left"))
    }
}

/// The images a tenant may use.
pub struct AllowedImages {
    within: TenantGrant,
    allowed: BTreeSet<ImagePattern>,
    aliases: BTreeMap<ImageRequest, ImageRef>,
}

impl AllowedImages {
    /// Within which tenant.
    pub fn within(&self) -> &TenantGrant {
        &self.within
    }

    /// The list.
    pub fn patterns(&self) -> &BTreeSet<ImagePattern> {
        &self.allowed
    }

    /// Whether this image is on the list.
    pub fn allows(&self, reference: &ImageRef) -> bool {
        self.allowed.iter().any(|pattern| pattern.matches(reference))
    }

    /// The short names that mean this image.
    pub fn names(&self, reference: &ImageRef) -> Vec<String> {
        let known = self.aliases.iter().filter(|(_, target)| *target == reference);
        known.map(|(alias, _)| alias.as_str().to_owned()).collect()
    }

    /// The image that a request means: an alias, or the text as it stands, and in each case on the tenant's list
    /// (SECURITY rules 5 and 23). An empty list allows nothing.
    fn resolve(&self, asked: &ImageRequest) -> Result<ImageGrant> {
        let alias = self.aliases.get(asked).cloned();
        let reference = alias.or_else(|| ImageRef::parse(asked.as_str()).ok()).filter(|found| self.allows(found));
        let refused = || Error::new(Kind::Forbidden, format!("the image {:?} is not allowed here", asked.as_str()));
        Ok(ImageGrant { tenant: self.within.tenant().clone(), reference: reference.ok_or_else(refused)? })
    }
}
