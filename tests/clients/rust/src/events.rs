//! The example of docs/clients.md: server-sent events, of bytes as they come.

use std::error::Error;

use futures_util::StreamExt;
use progenitor_client::ByteStream;

/// The next event: its name and its data. None at the end.
pub async fn next(stream: &mut ByteStream, kept: &mut Vec<u8>) -> Result<Option<(String, String)>, Box<dyn Error>> {
    loop {
        while let Some(end) = kept.windows(2).position(|two| two == b"\n\n") {
            let event = String::from_utf8(kept.drain(..end + 2).collect())?;
            let field = |name| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                return Ok(Some((name, data)));
            }
        }
        let Some(bytes) = stream.next().await else { return Ok(None) };
        kept.extend_from_slice(&bytes?);
    }
}
