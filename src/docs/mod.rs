//! The documentation: the document itself, and a page of it, Swagger UI from our own files, under a policy that allows no
//! inline script.

mod specification;

use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, Request, Response, Result, endpoint::make_sync};

use crate::domain::{Error, Kind};

pub use specification::Specification;

/// Name, media type, content.
const FILES: &[(&str, &str, &[u8])] = &[
    ("", "text/html; charset=utf-8", include_bytes!("index.html")),
    ("start.js", "text/javascript; charset=utf-8", include_bytes!("start.js")),
    ("page.css", "text/css; charset=utf-8", include_bytes!("page.css")),
    ("swagger-ui.css", "text/css; charset=utf-8", include_bytes!("swagger-ui/swagger-ui.css")),
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8", include_bytes!("swagger-ui/swagger-ui-bundle.js")),
    ("favicon-32x32.png", "image/png", include_bytes!("swagger-ui/favicon-32x32.png")),
];

/// All is ours; Swagger UI's stylesheet has images in it. It sets styles by script only, which is not inline to a browser.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Changes with every release, so that browsers fetch the large files once for each.
const ETAG: &str = concat!("\"", env!("CARGO_PKG_VERSION"), "-5.35.0\"");

/// What whoever opens the gateway's address finds: a person the page, a program where to go on.
pub fn door(request: &Request) -> Result<Response> {
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    let is_browser = request.header(header::ACCEPT).is_some_and(|types| types.contains("text/html"));
    if reads && is_browser {
        return Ok(Response::builder().status(StatusCode::SEE_OTHER).header(header::LOCATION, "/docs").finish());
    }
    Err(Error::new(Kind::NoRoute, "there is no such path; the API is below /api/v1, a page about it at /docs").into())
}

/// Serves `/docs` and the files below it.
pub fn endpoint() -> impl Endpoint {
    make_sync(|request: Request| -> Result<Response> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Error::new(Kind::Method("GET, HEAD".into()), "this path takes GET, HEAD").into());
        }
        let name = request.uri().path().trim_start_matches("/docs").trim_start_matches('/');
        let found = FILES.iter().find(|(known, ..)| *known == name);
        let (_, media_type, content) = found.ok_or_else(|| Error::new(Kind::NoRoute, "there is no such path"))?;
        let response = Response::builder()
            .header(header::CONTENT_SECURITY_POLICY, POLICY)
            .header(header::REFERRER_POLICY, "no-referrer")
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::ETAG, ETAG);
        if request.header("if-none-match") == Some(ETAG) {
            return Ok(response.status(StatusCode::NOT_MODIFIED).finish());
        }
        Ok(response.header(header::CONTENT_TYPE, *media_type).body(*content))
    })
}
