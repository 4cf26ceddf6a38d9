//! Signing in and out: JSON for people, OAuth2 forms for tools (RFC 6749, 4.3 and 6).

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use poem::http::header::AUTHORIZATION;
use poem::web::Data;
use poem::{Request, RequestBody};
use poem_openapi::param::Query;
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{ApiRequest, ApiResponse, Object, OpenApi};

use super::caller::{Anyone, Caller};
use super::json::{self, Strict};
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

/// The OAuth2 forms.
#[derive(Object)]
#[allow(dead_code)]
struct TokenForm {
    /// `password`, `refresh_token` or `client_credentials`.
    grant_type: String,
    /// With `password`: `tenant/name`, or the name alone for a platform administrator.
    username: Option<String>,
    /// With `password`.
    #[oai(write_only)]
    password: Option<String>,
    /// With `refresh_token`. Good once.
    #[oai(write_only)]
    refresh_token: Option<String>,
    /// With `client_credentials`: the public identifier of an API key.
    client_id: Option<String>,
    /// With `client_credentials`: the API key.
    #[oai(write_only)]
    client_secret: Option<String>,
}

/// The form's fields as they came: RFC 6749 has its own errors, and unknown fields are ignored.
struct Form(Result<HashMap<String, String>, &'static str>);

impl Payload for Form {
    const CONTENT_TYPE: &'static str = "application/x-www-form-urlencoded";

    fn check_content_type(content_type: &str) -> bool {
        content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(Self::CONTENT_TYPE)
    }

    fn schema_ref() -> MetaSchemaRef {
        TokenForm::schema_ref()
    }

    fn register(registry: &mut Registry) {
        TokenForm::register(registry);
    }
}

impl ParsePayload for Form {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let (bytes, _) = json::read(request, body, false).await?;
        let mut fields = HashMap::new();
        let mut twice = false;
        for (name, value) in form_urlencoded::parse(&bytes) {
            twice |= fields.insert(name.into_owned(), value.into_owned()).is_some();
        }
        if let Some((id, secret)) = basic(request) {
            twice |= fields.insert("client_id".into(), id).is_some();
            twice |= fields.insert("client_secret".into(), secret).is_some();
        }
        Ok(Self(if twice { Err("a parameter is there twice") } else { Ok(fields) }))
    }
}

/// A client's id and secret where most OAuth2 libraries put them (RFC 6749, 2.3.1).
fn basic(request: &Request) -> Option<(String, String)> {
    let (scheme, encoded) = request.header(AUTHORIZATION)?.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = String::from_utf8(decoded).ok()?;
    decoded.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
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

/// What went wrong, in OAuth2's words (RFC 6749, 5.2).
#[derive(Object)]
#[oai(example)]
struct OAuthError {
    /// `invalid_request`, `invalid_grant`, `invalid_client`, `unsupported_grant_type` or `temporarily_unavailable`.
    error: String,
    /// For a person.
    error_description: String,
}

impl Example for OAuthError {
    fn example() -> Self {
        Self { error: "invalid_grant".into(), error_description: "wrong user name or password".into() }
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
    OAuth(Json<OAuthError>),
}

#[OpenApi(tag = "Tag::Authentication")]
impl TokenOperations {
    /// Get a token
    ///
    /// Takes name and password as JSON, or as an OAuth2 form, which also takes a refresh token or an API key. The form's
    /// errors are OAuth2's own.
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
        /// Ends every session of the account and whatever else was issued to it.
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

impl TokenOperations {
    async fn form(&self, course: &Arc<Course>, form: Form) -> poem::Result<TokenAnswer> {
        let refuse = |error: &str, description: &str| {
            let body = OAuthError { error: error.into(), error_description: description.into() };
            Ok(TokenAnswer::OAuth(Json(body)))
        };
        let fields = match form.0 {
            Ok(fields) => fields,
            Err(description) => return refuse("invalid_request", description),
        };
        let field = |name: &str| fields.get(name).map(String::as_str);
        let session = match field("grant_type") {
            Some("password") => match (field("username"), field("password")) {
                (Some(username), Some(password)) => self.0.auth.sign_in(course, username, password).await,
                _ => return refuse("invalid_request", "username and password are needed"),
            },
            Some("refresh_token") => match field("refresh_token") {
                Some(token) => self.0.auth.refresh(course, token).await,
                None => return refuse("invalid_request", "refresh_token is needed"),
            },
            Some("client_credentials") => {
                return match (field("client_id"), field("client_secret")) {
                    (Some(id), Some(secret)) => match self.0.auth.sign_in_by_key(course, id, secret).await {
                        Ok((access, scopes)) => Ok(answer(access, None, &scopes)),
                        Err(error) if matches!(error.kind, Kind::Unauthenticated(_)) => {
                            refuse("invalid_client", &error.message)
                        }
                        Err(error) => Err(error.into()),
                    },
                    _ => refuse("invalid_request", "client_id and client_secret are needed"),
                };
            }
            Some(_) => {
                let grants = "the grants are password, refresh_token and client_credentials";
                return refuse("unsupported_grant_type", grants);
            }
            None => return refuse("invalid_request", "grant_type is missing"),
        };
        match session {
            Ok(session) => Ok(of_session(session)),
            Err(error) if matches!(error.kind, Kind::Unauthenticated(_)) => refuse("invalid_grant", &error.message),
            Err(error) => Err(error.into()),
        }
    }
}
