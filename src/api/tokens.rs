//! Signing in: JSON for people, the OAuth2 password form for tools (RFC 6749, 4.3).

use std::collections::HashMap;

use poem::{Request, RequestBody};
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{ApiRequest, ApiResponse, Object, OpenApi};

use super::json::{self, Strict};
use super::{Context, Tag};
use crate::domain::{Error, Kind};

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

/// The OAuth2 password form.
#[derive(Object)]
#[allow(dead_code)]
struct TokenForm {
    /// `password`.
    grant_type: String,
    /// `tenant/name`, or the name alone for a platform administrator.
    username: String,
    /// The password.
    #[oai(write_only)]
    password: String,
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
        Ok(Self(if twice { Err("a parameter is there twice") } else { Ok(fields) }))
    }
}

#[derive(ApiRequest)]
enum TokenBody {
    Json(Strict<TokenRequest>),
    Form(Form),
}

/// A token.
#[derive(Object)]
#[oai(example)]
struct TokenResponse {
    /// Always true.
    success: bool,
    /// A JWT, for `Authorization: Bearer`.
    access_token: String,
    /// Always `Bearer`.
    token_type: String,
    /// Seconds it is good for.
    expires_in: u64,
}

impl Example for TokenResponse {
    fn example() -> Self {
        Self {
            success: true,
            access_token: "eyJ0eXAiOiJKV1QiLCJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl".into(),
            token_type: "Bearer".into(),
            expires_in: 900,
        }
    }
}

/// What went wrong, in OAuth2's words (RFC 6749, 5.2).
#[derive(Object)]
#[oai(example)]
struct OAuthError {
    /// `invalid_request`, `invalid_grant`, `unsupported_grant_type` or `temporarily_unavailable`.
    error: String,
    /// For a person.
    error_description: String,
}

impl Example for OAuthError {
    fn example() -> Self {
        Self { error: "invalid_grant".into(), error_description: "wrong user name or password".into() }
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
    /// Takes name and password as JSON, or as the OAuth2 password form, whose errors are then OAuth2's own.
    #[oai(path = "/auth/token", method = "post", operation_id = "createToken")]
    async fn create(&self, body: TokenBody) -> poem::Result<TokenAnswer> {
        match body {
            TokenBody::Json(Strict(TokenRequest { username, password }, _)) => {
                Ok(TokenAnswer::Token(self.sign_in(&username, &password).await?))
            }
            TokenBody::Form(form) => self.form(form).await,
        }
    }
}

impl TokenOperations {
    async fn sign_in(&self, username: &str, password: &str) -> Result<Json<TokenResponse>, Error> {
        let signed = self.0.auth.sign_in(username, password).await?;
        Ok(Json(TokenResponse {
            success: true,
            access_token: signed.token,
            token_type: "Bearer".into(),
            expires_in: signed.expires_in,
        }))
    }

    async fn form(&self, form: Form) -> poem::Result<TokenAnswer> {
        let refuse = |error: &str, description: &str| {
            let body = OAuthError { error: error.into(), error_description: description.into() };
            Ok(TokenAnswer::OAuth(Json(body)))
        };
        let fields = match form.0 {
            Ok(fields) => fields,
            Err(description) => return refuse("invalid_request", description),
        };
        match fields.get("grant_type").map(String::as_str) {
            Some("password") => {}
            Some(_) => return refuse("unsupported_grant_type", "only the password grant is supported"),
            None => return refuse("invalid_request", "grant_type is missing"),
        }
        let (Some(username), Some(password)) = (fields.get("username"), fields.get("password")) else {
            return refuse("invalid_request", "username and password are needed");
        };
        match self.sign_in(username, password).await {
            Ok(token) => Ok(TokenAnswer::Token(token)),
            Err(error) if matches!(error.kind, Kind::Unauthenticated(_)) => refuse("invalid_grant", &error.message),
            Err(error) => Err(error.into()),
        }
    }
}
