//! Signing in and out: JSON for people, OAuth2 forms for tools ([`oauth`]).

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiRequest, ApiResponse, Object, OpenApi};

use super::caller::{Anyone, Caller};
use super::json::Strict;
use super::oauth::{self, BASIC_CHALLENGE, Form, Grant, OAuthError, Refusal};
use super::parameter::Flag;
use super::{Context, Tag};
use crate::auth::{Session, SignedToken};
use crate::domain::{Kind, Scope};
use crate::store::Course;

pub struct TokenOperations(pub Context);

/// Name and password.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct TokenRequest {
    /// `tenant/name`, or the name alone for a platform administrator.
    username: String,
    /// The password.
    #[oai(write_only)]
    password: String,
}

impl Example for TokenRequest {
    fn example() -> Self {
        Self { username: "acme/alice".into(), password: "correct horse battery staple".into() }
    }
}

#[derive(ApiRequest)]
enum TokenBody {
    Json(Strict<TokenRequest>),
    Form(Form),
}

/// A token.
#[derive(Object)]
#[oai(skip_serializing_if_is_none, example)]
struct TokenResponse {
    /// Always true.
    success: bool,
    /// A JWT, for `Authorization: Bearer`.
    access_token: String,
    /// Always `Bearer`.
    token_type: String,
    /// Seconds it is good for.
    expires_in: u64,
    /// For the next token, by the form's `refresh_token` grant. Good once; used twice, it ends the session. None for a
    /// key.
    refresh_token: Option<String>,
    /// Scopes that it has, with a space between: the account's or the key's, whatever `scope` the form asked for
    /// (RFC 6749, 3.3).
    scope: Option<String>,
}

impl Example for TokenResponse {
    fn example() -> Self {
        Self {
            success: true,
            access_token: "eyJ0eXAiOiJKV1QiLCJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl".into(),
            token_type: "Bearer".into(),
            expires_in: 900,
            refresh_token: Some("pgr_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I".into()),
            scope: Some("containers:read status".into()),
        }
    }
}

/// The session is over.
#[derive(Object)]
#[oai(example)]
struct LogoutResponse {
    /// Always true.
    success: bool,
}

impl Example for LogoutResponse {
    fn example() -> Self {
        Self { success: true }
    }
}

/// An account, as it sees itself.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct Me {
    /// Its identifier.
    id: String,
    /// What it signs in with.
    username: String,
    /// Its tenant; none for a platform administrator.
    tenant: Option<String>,
    /// viewer, operator, admin or platform.
    role: String,
    /// What this token may do: its role's scopes, or fewer.
    scopes: Vec<String>,
}

/// Who the token belongs to.
#[derive(Object)]
#[oai(example)]
struct MeResponse {
    /// Always true.
    success: bool,
    /// The account.
    account: Me,
}

impl Example for MeResponse {
    fn example() -> Self {
        let account = Me {
            id: "0b3f6a4d9c5e4c0d8f0a6b1c2d3e4f50".into(),
            username: "acme/alice".into(),
            tenant: Some("acme".into()),
            role: "viewer".into(),
            scopes: vec!["containers:read".into(), "status".into()],
        };
        Self { success: true, account }
    }
}

#[derive(ApiResponse)]
enum TokenAnswer {
    /// Signed in.
    #[oai(status = 200)]
    Token(Json<TokenResponse>),
    /// The form was wrong, or name and password were.
    #[oai(status = 400)]
    Refused(Json<OAuthError>),
    /// The client named itself in a header, and is none.
    #[oai(status = 401)]
    NoClient(Json<OAuthError>, #[oai(header = "WWW-Authenticate")] String),
}

#[OpenApi(tag = "Tag::Authentication")]
impl TokenOperations {
    /// Get a token
    ///
    /// Takes name and password as JSON, or an OAuth2 form (`application/x-www-form-urlencoded`): `grant_type` is `password`
    /// (with `username` and `password`), `refresh_token` (with `refresh_token`) or `client_credentials` (with `client_id`
    /// and `client_secret` of an API key, in the form or as `Authorization: Basic`). A form that fails is answered in
    /// OAuth2's words, with the same status: `{"error": "invalid_grant", "error_description": "…"}`; `error` is
    /// `invalid_request`, `invalid_grant`, `invalid_client`, `unsupported_grant_type`, `temporarily_unavailable` or
    /// `server_error`.
    #[oai(path = "/auth/token", method = "post", operation_id = "createToken")]
    async fn create(&self, course: Data<&Arc<Course>>, body: TokenBody) -> poem::Result<TokenAnswer> {
        match body {
            TokenBody::Json(Strict(TokenRequest { username, password }, _)) => {
                self.0.auth.sign_in(&course, &username, &password).await.map(of_session).map_err(Into::into)
            }
            TokenBody::Form(form) => self.form(&course, form).await,
        }
    }

    /// Sign out
    ///
    /// Ends the session of this token: neither it nor the session's refresh token is good any more, on any gateway. Of an
    /// identity provider, neither this token nor those issued before it.
    #[oai(path = "/auth/logout", method = "post", operation_id = "logout")]
    async fn logout(
        &self,
        who: Caller<Anyone>,
        /// Ends every session of the account and all tokens that were issued to it, those of its API keys too. The keys
        /// themselves stay: revoke them.
        #[oai(default)]
        everywhere: Query<Flag>,
    ) -> poem::Result<Json<LogoutResponse>> {
        self.0.auth.sign_out(who.principal(), everywhere.0.0).await?;
        Ok(Json(LogoutResponse { success: true }))
    }

    /// Read who I am
    ///
    /// The account that the token belongs to, and what it may do at this moment.
    #[oai(path = "/auth/me", method = "get", operation_id = "getMe")]
    async fn me(&self, who: Caller<Anyone>) -> poem::Result<Json<MeResponse>> {
        let principal = who.principal();
        let account = Me {
            id: principal.account_id.clone(),
            username: principal.login.to_string(),
            tenant: principal.tenant.as_ref().map(|tenant| tenant.slug.to_string()),
            role: principal.role.as_str().into(),
            scopes: principal.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
        };
        Ok(Json(MeResponse { success: true, account }))
    }
}

fn of_session(session: Session) -> TokenAnswer {
    answer(session.access, Some(session.refresh_token), &session.scopes)
}

fn answer(access: SignedToken, refresh_token: Option<String>, scopes: &[Scope]) -> TokenAnswer {
    let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    TokenAnswer::Token(Json(TokenResponse {
        success: true,
        access_token: access.token,
        token_type: "Bearer".into(),
        expires_in: access.expires_in,
        refresh_token,
        scope: Some(scopes.join(" ")),
    }))
}

impl From<Refusal> for TokenAnswer {
    fn from(refusal: Refusal) -> Self {
        let Refusal { error, description, in_header } = refusal;
        let body = Json(OAuthError::new(error, &description));
        if in_header { Self::NoClient(body, BASIC_CHALLENGE.to_owned()) } else { Self::Refused(body) }
    }
}

impl TokenOperations {
    async fn form(&self, course: &Arc<Course>, form: Form) -> poem::Result<TokenAnswer> {
        let granted = match form.grant() {
            Err(refusal) => return Ok(refusal.into()),
            Ok(Grant::Password { username, password }) => {
                self.0.auth.sign_in(course, &username, &password).await.map(of_session)
            }
            Ok(Grant::Refresh(token)) => self.0.auth.refresh(course, &token).await.map(of_session),
            Ok(Grant::Client { id, secret, in_header }) => {
                let signed = self.0.auth.sign_in_by_key(course, &id, &secret).await;
                return match signed {
                    Ok((access, scopes)) => Ok(answer(access, None, &scopes)),
                    Err(error) if matches!(error.kind, Kind::Unauthenticated(_)) => {
                        Ok(Refusal::no_client(error.message, in_header).into())
                    }
                    Err(error) => Err(error.into()),
                };
            }
        };
        match granted {
            Err(error) if matches!(error.kind, Kind::Unauthenticated(_)) => {
                Ok(Refusal::new(oauth::INVALID_GRANT, error.message).into())
            }
            other => other.map_err(Into::into),
        }
    }
}
