//! Terminals inside containers.

mod connection;
mod orders;
mod session;
mod words;

use std::sync::Arc;

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};

use super::caller::{Caller, Exec as ExecScope};
use super::error::invalid_parameter;
use super::framed::{STDIN, framed};
use super::parameter::Flag;
use super::websocket::{Switching, Upgrade};
use super::{Context, Tag};
use crate::domain::{CommandLine, Details, Directory, Error, ExecUser, Kind, Result, Words};
use crate::engine::TerminalRequest;
use crate::policy::{Change, Read};
use crate::streams::socket::{Close, Heard, Message, Receiver, Sender, Socket};

use connection::{Connection, Next};
use orders::Order;
pub use session::Terminals;
use session::{End, Held, Session};
use words::{Wish, Word};

pub struct Terminal(pub Context);

/// The most bytes of output in a message.
const MOST: usize = 16 * 1024;

/// After so many bytes of output, or so many messages, the client is asked how far it is.
const MARK_EVERY: u64 = 16 * 1024;
const MARK_EVERY_MESSAGES: u32 = 256;

#[OpenApi(tag = "Tag::Inside")]
impl Terminal {
    /// Open a terminal
    ///
    /// A WebSocket with a command on a terminal of its own, or with `tty=false` on pipes. Binary messages are bytes
    /// behind one that says whose: 0 input, 1 output, 2 standard error. Text messages are JSON: the gateway's first is
    /// `{"type": "session", "session": …, "resumable_seconds": 30, "offset": …}`, its last
    /// `{"type": "exit", "exit_code": …, "supervised": …, "killed": …}`; the client's are `{"type": "resize", "rows": …,
    /// "columns": …}`, `{"type": "signal", "signal": "SIGINT"}`, `{"type": "end"}` (of the input; on a terminal, Ctrl-D)
    /// and `{"type": "ping"}` (answered with `pong`). What is no input passes input that waits to be read, 64 KiB at most.
    /// A client that loses its connection comes back with `session` and the bytes of output it has as `seen`, and gets what
    /// it missed. One that closes with 1000 ends the command and all that it started.
    #[oai(path = "/containers/:name/terminal", method = "get", operation_id = "openTerminal")]
    #[allow(clippy::too_many_arguments)] // each is a parameter of the request
    async fn open(
        &self,
        who: Caller<ExecScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// What to run, as an exec's string is. Default: `/bin/bash`, else `/bin/sh`.
        command: Query<Option<String>>,
        /// User to run as, name or number, optionally with `:group`. Default: the container's.
        user: Query<Option<String>>,
        /// Directory to run in. Default: the container's.
        workdir: Query<Option<String>>,
        /// Whether on a terminal: true, false, 1 or 0.
        #[oai(default = "default_tty")]
        tty: Query<Flag>,
        /// Lines of the window.
        #[oai(default = "default_rows", validator(minimum(value = "1"), maximum(value = "4096")))]
        rows: Query<u16>,
        /// Characters in each.
        #[oai(default = "default_columns", validator(minimum(value = "1"), maximum(value = "4096")))]
        columns: Query<u16>,
        /// The terminal to come back to, on the same gateway. The parameters above count for nothing then.
        session: Query<Option<String>>,
        /// With `session`: how many bytes of output came. Without, all comes that is kept.
        seen: Query<Option<u64>>,
        upgrade: Upgrade,
    ) -> poem::Result<Switching> {
        if let Some(id) = session.0 {
            return self.come_back(&who, &name, &id, seen.0, upgrade).await;
        }
        let mut wrong = Details::default();
        if seen.0.is_some() {
            wrong.add("seen", "goes with session");
        }
        let line = wrong.take_optional("command", command.0, |text| CommandLine::parse_text(&text));
        let user = wrong.take_optional("user", user.0, |user| ExecUser::parse(&user));
        let workdir = wrong.take_optional("workdir", workdir.0, |path| Directory::parse(&path));
        let size = wrong.take("rows", words::size(rows.0, columns.0));
        wrong.finish()?;
        let commands = match &line {
            Some(line) => [Some(line.for_exec()), line.without_shell()].into_iter().flatten().collect(),
            None => shells()?,
        };
        let terminal = size.filter(|_| tty.0.0);
        let request = TerminalRequest { commands, user, workdir, terminal };
        let asker = who.principal().running(line.iter().flat_map(CommandLine::words));
        let grant = self.0.policy.container(&asker, who.scope(), Change, &name).await?;
        let open = self.0.streams.open(who.principal(), who.scope()).await?;
        let (live, in_use) = self.0.lifecycle.open_terminal(&grant, &request).await?;
        let watch = self.0.streams.watch(who.principal(), who.scope());
        let is_tty = request.terminal.is_some();
        let (id, held) = ((self.0.world.new_id)(), Held { open, grant, is_tty, _in_use: in_use });
        let session = self.0.terminals.begin(id, who.principal(), live, held, self.0.terminal_idle);
        Ok(upgrade.serve(watch, async move |socket| talk(&session, 0, socket).await))
    }
}

impl Terminal {
    async fn come_back(
        &self,
        who: &Caller<ExecScope>,
        name: &str,
        id: &str,
        seen: Option<u64>,
        upgrade: Upgrade,
    ) -> poem::Result<Switching> {
        // What it does is in the audit log since it was opened.
        let grant = self.0.policy.container(who.principal(), who.scope(), Read, name).await?;
        let none = || Error::new(Kind::NotFound, "there is no such terminal here; it may have ended");
        let session = self.0.terminals.find(id, who.principal(), &grant).ok_or_else(none)?;
        let (start, end) = session.kept();
        let place = seen.unwrap_or(start);
        if place > end {
            return Err(invalid_parameter("seen", "is more than the terminal said").into());
        }
        session.confirm(place);
        let watch = self.0.streams.watch(who.principal(), who.scope());
        Ok(upgrade.serve(watch, async move |socket| talk(&session, place, socket).await))
    }
}

/// Until either side ends. The terminal goes on where it is only the connection that ended.
async fn talk(session: &Arc<Session>, place: u64, socket: Socket) -> Close {
    let connection = session.connect();
    let Socket { sender, mut receiver } = socket;
    tokio::select! {
        close = tell(session, &connection, place, &sender) => close,
        close = hear(session, &connection, &mut receiver, &sender) => close,
        close = connection.taken_over() => close,
    }
}

async fn tell(session: &Session, connection: &Connection<'_>, place: u64, sender: &Sender) -> Close {
    // What is kept no longer is left out, and the offset says so.
    let mut place = place.max(session.kept().0);
    let (mut marked, mut messages) = (place, 0);
    if sender.send(Message::Text(connection.introduction(place))).await.is_err() {
        return Close::done("");
    }
    loop {
        let sent = match connection.next(place, MOST).await {
            Next::Output(output, bytes) => {
                place += bytes.len() as u64;
                sender.send(framed(output, &bytes)).await
            }
            Next::End(End { exit: Some(exit), close }) => {
                let _ = sender.send(Message::Text(Word::exit(&exit).text())).await;
                return close;
            }
            Next::End(End { exit: None, close }) => return close,
        };
        if sent.is_err() {
            return Close::done("");
        }
        session.sent(place);
        messages += 1;
        if place - marked >= MARK_EVERY || messages >= MARK_EVERY_MESSAGES {
            (marked, messages) = (place, 0);
            if sender.mark(place).await.is_err() {
                return Close::done("");
            }
        }
    }
}

async fn hear(session: &Session, connection: &Connection<'_>, receiver: &mut Receiver, sender: &Sender) -> Close {
    while let Some(heard) = receiver.hear().await {
        match heard {
            Heard::Marked(place) => session.confirm(place),
            Heard::Message(Message::Binary(mut bytes)) if bytes.first() == Some(&STDIN) => {
                if session.input_has_ended() {
                    return Close::refused("nothing follows the end");
                }
                session.order(Order::Bytes(bytes.split_off(1))).await;
            }
            Heard::Message(Message::Binary(_)) => return Close::refused("binary messages begin with 0"),
            Heard::Message(Message::Text(text)) => match obey(session, sender, &text).await {
                Ok(()) => {}
                Err(reason) => return Close::refused(reason),
            },
        }
    }
    if receiver.was_closed_for_good() {
        connection.hang_up();
    }
    Close::done("")
}

async fn obey(session: &Session, sender: &Sender, text: &str) -> Result<(), &'static str> {
    let wish = serde_json::from_str(text).map_err(|_| "no such order; see the description of openTerminal")?;
    match wish {
        Wish::Resize { rows, columns } => {
            let size = words::size(rows, columns).map_err(|_| "rows and columns are within 1 and 4096")?;
            session.order(Order::Resize(size)).await;
        }
        Wish::Signal { signal } => {
            let signal = signal.parse().map_err(|_| "no such signal")?;
            session.order(Order::Signal(words::number(signal))).await;
        }
        Wish::End {} => session.end_input().await,
        Wish::Ping {} => {
            let _ = sender.send(Message::Text(Word::Pong {}.text())).await;
        }
    }
    Ok(())
}

/// What is run where nothing else is asked for.
fn shells() -> Result<Vec<Words>> {
    let shell = |path: &str| Words::parse(vec![path.to_owned()]).map_err(Error::internal);
    ["/bin/bash", "/bin/sh"].into_iter().map(shell).collect()
}

fn default_tty() -> Flag {
    Flag(true)
}

fn default_rows() -> u16 {
    24
}

fn default_columns() -> u16 {
    80
}
