//! Tickets for WebSockets.

use std::sync::Arc;

use poem::http::Method;
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::caller::{Anyone, Caller};
use super::contract::{Contract, Found};
use super::json::Strict;
use super::model::answer;
use super::{Context, PREFIX, Tag};
use crate::auth::TICKET_SECONDS;
use crate::domain::Details;

pub struct Tickets(pub Context);

/// What the ticket is to open.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct CreateTicketRequest {
    /// The WebSocket's path as in this document, with the names filled in.
    path: String,
}

impl Example for CreateTicketRequest {
    fn example() -> Self {
        Self { path: "/containers/web/attach".into() }
    }
}

/// Opens one WebSocket.
#[derive(Object)]
struct Ticket {
    /// For the query: `?ticket=…`.
    ticket: String,
    /// What it opens.
    path: String,
    /// Seconds it is good for.
    expires_in: i64,
}

answer! {
    /// A ticket, shown once.
    TicketResponse { ticket: Ticket }
    example Ticket {
        ticket: "pgt_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I".into(),
        path: "/containers/web/attach".into(),
        expires_in: TICKET_SECONDS,
    }
}

#[OpenApi(tag = "Tag::Authentication")]
impl Tickets {
    /// Get a ticket
    ///
    /// A browser can send no token when it opens a WebSocket. It sends a ticket in the URL instead: good once, for 30
    /// seconds, for this path and whoever asked for it.
    #[oai(path = "/auth/tickets", method = "post", operation_id = "createTicket")]
    async fn create(
        &self,
        who: Caller<Anyone>,
        contract: Data<&Arc<Contract>>,
        body: Strict<CreateTicketRequest>,
    ) -> poem::Result<Json<TicketResponse>> {
        let CreateTicketRequest { path } = body.0;
        let full = format!("{PREFIX}{path}");
        match contract.find(&Method::GET, &full) {
            Found::Operation(operation, _) if operation.is_websocket => {}
            _ => {
                let mut wrong = Details::default();
                wrong.add("path", "must be a WebSocket's, such as /containers/NAME/attach");
                return Err(wrong.into_error().into());
            }
        }
        let ticket = self.0.auth.issue_ticket(who.principal(), &full).await?;
        Ok(TicketResponse::of(Ticket { ticket, path, expires_in: TICKET_SECONDS }))
    }
}
