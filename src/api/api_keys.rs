//! Keys for programs: an account makes its own.

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::caller::{Anyone, Caller};
use super::json::Strict;
use super::model::answer;
use super::{Context, Tag};
use crate::auth::KeyRequest;
use crate::domain::{Details, timestamp_ms};
use crate::store::ApiKey;

pub struct ApiKeys(pub Context);

/// The key to make.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct CreateApiKeyRequest {
    /// What it is for; an account's keys have different names. At most 63 letters, digits, `_`, `.` and `-`.
    name: String,
    /// What it may do, of what its owner may. Without: all that its owner may at each time.
    scopes: Option<Vec<String>>,
    /// Seconds until it stops being good. Without: never.
    expires_in: Option<i64>,
}

impl Example for CreateApiKeyRequest {
    fn example() -> Self {
        Self { name: "ci".into(), scopes: Some(vec!["containers:read".into()]), expires_in: Some(2_592_000) }
    }
}

/// How to replace a key.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct RotateApiKeyRequest {
    /// Seconds that the old secret is good beside the new one, at most 2592000. Without: 0.
    overlap: Option<i64>,
    /// Seconds from now until the key stops being good. Without: when it would have anyway.
    expires_in: Option<i64>,
}

impl Example for RotateApiKeyRequest {
    fn example() -> Self {
        Self { overlap: Some(3600), expires_in: Some(7_776_000) }
    }
}

/// A key, without its secret.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ApiKeyItem {
    /// Its public identifier, which is part of it. A program's `client_id`.
    id: String,
    /// What its owner calls it.
    name: String,
    /// What it may do; empty: all that its owner may.
    scopes: Vec<String>,
    /// When it was made, RFC 3339.
    created: String,
    /// When it stops being good, RFC 3339.
    expires: Option<String>,
    /// When it was last used, to the minute, RFC 3339.
    last_used: Option<String>,
    /// Until when an earlier secret is good as well, RFC 3339; after a rotation with an overlap.
    previous_until: Option<String>,
    /// The key itself: here and never again. For `X-API-Key`, `Authorization: Bearer`, or as `client_secret`.
    key: Option<String>,
}

/// A key that is gone.
#[derive(Object)]
pub(super) struct ApiKeyRevoked {
    /// Its public identifier.
    pub id: String,
    /// Always true.
    pub revoked: bool,
}

fn sample() -> ApiKeyItem {
    ApiKeyItem {
        id: "4fY0kPz81QxT".into(),
        name: "ci".into(),
        scopes: vec!["containers:read".into()],
        created: "2025-01-19T15:47:19.123000Z".into(),
        expires: Some("2025-02-18T15:47:19.123000Z".into()),
        last_used: None,
        previous_until: None,
        key: None,
    }
}

answer! {
    /// The key, with its secret.
    ApiKeyResponse { api_key: ApiKeyItem }
    example ApiKeyItem { key: Some("pgw_4fY0kPz81QxT…".into()), ..sample() }
}
answer! {
    /// The account's keys.
    pub(super) ApiKeyListResponse { api_keys: Vec<ApiKeyItem> }
    example vec![sample()]
}
answer! {
    /// The key is good for nothing any more.
    pub(super) ApiKeyRevokedResponse { api_key: ApiKeyRevoked }
    example ApiKeyRevoked { id: "4fY0kPz81QxT".into(), revoked: true }
}

impl ApiKeyItem {
    pub fn of(key: ApiKey, secret: Option<String>, now_ms: i64) -> Self {
        Self {
            previous_until: key.previous_until_ms.filter(|until| *until > now_ms).map(timestamp_ms),
            scopes: key.scopes.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
            created: timestamp_ms(key.created_ms),
            expires: key.expires_ms.map(timestamp_ms),
            last_used: key.last_used_ms.map(timestamp_ms),
            id: key.id,
            name: key.name,
            key: secret,
        }
    }
}

#[OpenApi(tag = "Tag::Authentication")]
impl ApiKeys {
    /// Create an API key
    ///
    /// The key is in this answer and nowhere else: a request that is sent again with the same idempotency key is answered
    /// without it; rotate the key then. It does what its owner may, or less; a key makes no keys.
    #[oai(path = "/api-keys", method = "post", operation_id = "createApiKey")]
    async fn create(
        &self,
        who: Caller<Anyone>,
        body: Strict<CreateApiKeyRequest>,
    ) -> poem::Result<Json<ApiKeyResponse>> {
        let CreateApiKeyRequest { name, scopes, expires_in } = body.0;
        let mut wrong = Details::default();
        let request = KeyRequest::parse(name, scopes, expires_in, &mut wrong);
        let Some(request) = request else { return Err(wrong.into_error().into()) };
        wrong.finish()?;
        let (key, secret) = self.0.auth.create_key(who.principal(), &request, who.attempt()).await?;
        Ok(ApiKeyResponse::of(ApiKeyItem::of(key, secret, self.0.world.now_ms())))
    }

    /// List API keys
    ///
    /// The caller's own, without their secrets; to who comes with a key, that one alone.
    #[oai(path = "/api-keys", method = "get", operation_id = "listApiKeys")]
    async fn list(&self, who: Caller<Anyone>) -> poem::Result<Json<ApiKeyListResponse>> {
        let keys = self.0.auth.keys(who.principal()).await?;
        let now_ms = self.0.world.now_ms();
        Ok(ApiKeyListResponse::of(keys.into_iter().map(|key| ApiKeyItem::of(key, None, now_ms)).collect()))
    }

    /// Rotate an API key
    ///
    /// Gives it a new secret. The old one stays good for `overlap` seconds. While that time runs, whoever rotates once more,
    /// say because the answer got lost, keeps that old one, and the one between ends; without `overlap` all earlier ones
    /// end. One that has expired needs `expires_in`.
    #[oai(path = "/api-keys/:id/rotate", method = "post", operation_id = "rotateApiKey")]
    async fn rotate(
        &self,
        who: Caller<Anyone>,
        /// The key's public identifier.
        id: Path<String>,
        body: Strict<RotateApiKeyRequest>,
    ) -> poem::Result<Json<ApiKeyResponse>> {
        let RotateApiKeyRequest { overlap, expires_in } = body.0;
        let rotated = self.0.auth.rotate_api_key(who.principal(), &id, overlap.unwrap_or(0), expires_in).await;
        let (key, secret) = rotated?;
        Ok(ApiKeyResponse::of(ApiKeyItem::of(key, Some(secret), self.0.world.now_ms())))
    }

    /// Revoke an API key
    ///
    /// From now on it is good for nothing, and so are tokens that it was given.
    #[oai(path = "/api-keys/:id", method = "delete", operation_id = "revokeApiKey")]
    async fn revoke(
        &self,
        who: Caller<Anyone>,
        /// The key's public identifier.
        id: Path<String>,
    ) -> poem::Result<Json<ApiKeyRevokedResponse>> {
        self.0.auth.revoke_key(who.principal(), &id).await?;
        Ok(ApiKeyRevokedResponse::of(ApiKeyRevoked { id: id.0, revoked: true }))
    }
}
