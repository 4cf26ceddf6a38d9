//! OAuth2's token endpoint as its tools speak it: forms, and failures in words of its own (RFC 6749, 3.2, 4.3, 4.4, 5 and
//! 6).

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{percent_decode, percent_decode_str};
use poem::http::StatusCode;
use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody};
use poem_openapi::Object;
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{Example, Type};

use super::json;

/// The operation that takes these forms.
pub const TOKEN_OPERATION: &str = "createToken";

/// How a client may name itself.
pub(super) const BASIC_CHALLENGE: &str = "Basic realm=\"podgate\"";

const INVALID_REQUEST: &str = "invalid_request";
const INVALID_CLIENT: &str = "invalid_client";
pub(super) const INVALID_GRANT: &str = "invalid_grant";

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

/// What went wrong, in OAuth2's words (RFC 6749, 5.2).
#[derive(Object)]
#[oai(example)]
pub struct OAuthError {
    /// `invalid_request`, `invalid_grant`, `invalid_client`, `unsupported_grant_type`, `temporarily_unavailable` or
    /// `server_error`.
    error: String,
    /// For a person.
    error_description: String,
}

impl Example for OAuthError {
    fn example() -> Self {
        Self::new(INVALID_GRANT, "wrong user name or password")
    }
}

impl OAuthError {
    pub(super) fn new(error: &str, description: &str) -> Self {
        // All that may stand in one.
        let is_plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        let plain = description.chars().map(|c| if is_plain(c) { c } else { '\'' });
        Self { error: error.to_owned(), error_description: plain.collect() }
    }

    /// Of an answer that failed with this status before the form was looked at, or for none of its faults.
    pub fn of_status(status: StatusCode, message: &str) -> Self {
        let error = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT => {
                "temporarily_unavailable"
            }
            status if status.is_server_error() => "server_error",
            _ => INVALID_REQUEST,
        };
        Self::new(error, message)
    }
}

/// Why a form gets no token.
pub(super) struct Refusal {
    pub error: &'static str,
    pub description: Cow<'static, str>,
    /// Whether the client named itself in the `Authorization` header; then it hears so (5.2).
    pub in_header: bool,
}

impl Refusal {
    pub fn new(error: &'static str, description: impl Into<Cow<'static, str>>) -> Self {
        Self { error, description: description.into(), in_header: false }
    }

    /// The client is none.
    pub fn no_client(description: impl Into<Cow<'static, str>>, in_header: bool) -> Self {
        Self { in_header, ..Self::new(INVALID_CLIENT, description) }
    }
}

/// What a form asks a token for.
pub(super) enum Grant {
    Password { username: String, password: String },
    Refresh(String),
    Client { id: String, secret: String, in_header: bool },
}

/// The form's fields as they came, unknown ones and all.
pub(super) struct Form {
    fields: HashMap<String, String>,
    is_twice: bool,
    is_text: bool,
    client: InHeader,
}

/// A client's id and secret where most OAuth2 libraries put them (2.3.1).
enum InHeader {
    Nothing,
    Named(String, String),
    Broken,
}

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
        Ok(Self::parse(&bytes, InHeader::of(request)))
    }
}

/// Whether a request brings a form.
pub fn is_form(request: &Request) -> bool {
    request.content_type().is_some_and(Form::check_content_type)
}

impl InHeader {
    fn of(request: &Request) -> Self {
        let mut all = request.headers().get_all(AUTHORIZATION).into_iter();
        match (all.next(), all.next()) {
            (None, _) => Self::Nothing,
            (Some(_), Some(_)) => Self::Broken,
            (Some(one), None) => one.to_str().map_or(Self::Broken, Self::parse),
        }
    }

    fn parse(header: &str) -> Self {
        let (scheme, encoded) = header.split_once(' ').unwrap_or((header, ""));
        // Whatever else is there names no client.
        if !scheme.eq_ignore_ascii_case("basic") {
            return Self::Nothing;
        }
        let decoded = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((id, secret)) = decoded.as_deref().and_then(|pair| pair.split_once(':')) else { return Self::Broken };
        if id.is_empty() && secret.is_empty() {
            return Self::Nothing;
        }
        // Both are encoded as a form's values are.
        let plain = |text: &str| Some(percent_decode_str(&text.replace('+', " ")).decode_utf8().ok()?.into_owned());
        plain(id).zip(plain(secret)).map_or(Self::Broken, |(id, secret)| Self::Named(id, secret))
    }
}

impl Form {
    fn parse(bytes: &[u8], client: InHeader) -> Self {
        let (mut fields, mut is_twice) = (HashMap::new(), false);
        // What has no value counts as if it were not there (3.2).
        for (name, value) in form_urlencoded::parse(bytes).filter(|(_, value)| !value.is_empty()) {
            is_twice |= fields.insert(name.into_owned(), value.into_owned()).is_some();
        }
        // All of it at once: what separates is ASCII.
        let is_text = percent_decode(bytes).decode_utf8().is_ok();
        Self { fields, is_twice, is_text, client }
    }

    /// What it asks for.
    pub fn grant(mut self) -> Result<Grant, Refusal> {
        let missing = |what| Refusal::new(INVALID_REQUEST, what);
        if self.is_twice {
            return Err(missing("a parameter is there twice"));
        }
        if !self.is_text {
            return Err(missing("the form is not UTF-8"));
        }
        if matches!(self.client, InHeader::Broken) {
            return Err(Refusal::no_client("the Authorization header is not Basic as it should be", true));
        }
        let grant = self.fields.remove("grant_type").ok_or_else(|| missing("grant_type is missing"))?;
        match grant.as_str() {
            "password" => match (self.fields.remove("username"), self.fields.remove("password")) {
                (Some(username), Some(password)) => Ok(Grant::Password { username, password }),
                _ => Err(missing("username and password are needed")),
            },
            "refresh_token" => {
                let token = self.fields.remove("refresh_token");
                token.map(Grant::Refresh).ok_or_else(|| missing("refresh_token is needed"))
            }
            "client_credentials" => self.client(),
            _ => {
                let grants = "the grants are password, refresh_token and client_credentials";
                Err(Refusal::new("unsupported_grant_type", grants))
            }
        }
    }

    fn client(mut self) -> Result<Grant, Refusal> {
        let in_form = (self.fields.remove("client_id"), self.fields.remove("client_secret"));
        match (self.client, in_form) {
            // It may be named in the form as well, but show its secret once only (2.3).
            (InHeader::Named(id, secret), (named, None)) if named.as_ref().is_none_or(|named| *named == id) => {
                Ok(Grant::Client { id, secret, in_header: true })
            }
            (InHeader::Named(..), _) => Err(Refusal::new(INVALID_REQUEST, "the client names itself in two ways")),
            (_, (Some(id), Some(secret))) => Ok(Grant::Client { id, secret, in_header: false }),
            _ => Err(Refusal::new(INVALID_REQUEST, "client_id and client_secret are needed")),
        }
    }
}
