//! The permission as a type: an operation that takes a `Caller<Exec>` is reached only with the scope `exec`.

use std::any::Any;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::domain::{Attempt, Error, Principal, Result, Scope};
use crate::policy::Policy;
use crate::store::{Asker, Course};

/// Who the request's token belongs to, as the middleware found out; or why nobody.
#[derive(Clone)]
pub struct Recognised(pub Arc<Result<Principal>>);

/// What an answer holds.
pub type Held = Box<dyn Any + Send + Sync>;

/// What the answer to a request holds until the client has taken its last byte: a place among the large ones, say. Else
/// who asks for much and takes nothing would fill our memory.
#[derive(Clone, Default)]
pub struct UntilTaken(Arc<Mutex<Vec<Held>>>);

impl UntilTaken {
    /// Adds to it.
    pub fn hold(&self, what: impl Any + Send + Sync) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(what));
    }

    /// What it is so far.
    pub fn take(&self) -> Vec<Held> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where the request came from: the peer's address; behind a trusted proxy the one it vouches for.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// The security scheme's name in the specification.
pub const BEARER: &str = "bearerAuth";

/// A scope as a type.
pub trait Needs: Send {
    /// The scope; none where a valid token is enough.
    const SCOPE: Option<Scope>;
    /// The security scheme's name and the scope's, for `document` to take apart.
    const SECURITY: &'static str;
}

/// Needs a scope, not only a valid token.
pub trait Scoped: Needs {
    /// The scope.
    const HELD: Scope;
}

macro_rules! scopes {
    ($($name:ident $text:literal),*) => {$(
        #[doc = concat!("Needs [`Scope::", stringify!($name), "`].")]
        pub struct $name;
        impl Needs for $name {
            const SCOPE: Option<Scope> = Some(Scope::$name);
            const SECURITY: &'static str = concat!("bearerAuth ", $text);
        }
        impl Scoped for $name {
            const HELD: Scope = Scope::$name;
        }

        #[cfg(test)]
        impl $name {
            fn is_named_well() -> bool {
                $text == Scope::$name.as_str()
            }
        }
    )*

        #[cfg(test)]
        #[test]
        fn scopes_have_their_names() {
            $(assert!($name::is_named_well(), $text);)*
        }
    };
}
scopes!(
    ContainersRead "containers:read",
    ContainersWrite "containers:write",
    Exec "exec",
    Files "files",
    Images "images",
    Volumes "volumes",
    Accounts "accounts",
    Audit "audit",
    Tenants "tenants",
    Status "status"
);

/// Needs nothing but a valid token.
pub struct Anyone;
impl Needs for Anyone {
    const SCOPE: Option<Scope> = None;
    const SECURITY: &'static str = BEARER;
}

/// An authenticated principal that holds a scope.
pub struct Caller<N: Needs> {
    asker: Asker,
    attempt: Option<Attempt>,
    until_taken: UntilTaken,
    scope: PhantomData<N>,
}

impl<N: Needs> Caller<N> {
    /// Who, in which request.
    pub fn principal(&self) -> &Asker {
        &self.asker
    }

    /// Which try this is, if the request has an idempotency key.
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }

    /// Keeps this until the client has the whole answer.
    pub fn holds(&self, what: impl Any + Send + Sync) {
        self.until_taken.hold(what);
    }
}

impl<N: Scoped> Caller<N> {
    /// What it holds.
    pub fn scope(&self) -> Scope {
        N::HELD
    }
}

impl<'a, N: Needs> ApiExtractor<'a> for Caller<N> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            BEARER,
            MetaSecurityScheme {
                ty: "http",
                description: Some("A token from `POST /auth/token`."),
                name: None,
                key_in: None,
                scheme: Some("bearer"),
                bearer_format: Some("JWT"),
                flows: None,
                openid_connect_url: None,
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![N::SECURITY]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let recognised = request.extensions().get::<Recognised>();
        let recognised = recognised.ok_or_else(|| Error::internal("an operation without the identify layer"))?;
        let principal = recognised.0.as_ref().as_ref().map_err(Error::again)?;
        if let Some(scope) = N::SCOPE {
            Policy::check_scope(principal, scope)?;
        }
        let attempt = request.extensions().get().cloned();
        let until_taken = request.extensions().get::<UntilTaken>();
        let until_taken = until_taken.ok_or_else(|| Error::internal("an operation without the untaken layer"))?.clone();
        let course = request.extensions().get::<Arc<Course>>();
        let course = course.ok_or_else(|| Error::internal("an operation without the audit layer"))?;
        let asker = Asker::new(principal.clone(), Arc::clone(course));
        Ok(Self { asker, attempt, until_taken, scope: PhantomData })
    }
}
