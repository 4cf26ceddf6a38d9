//! The first byte of a WebSocket's binary message: whose bytes follow.

use bytes::{BufMut, BytesMut};

use crate::engine::Output;
use crate::streams::socket::Message;

/// What the client says; 1 and 2 are the outputs.
pub(super) const STDIN: u8 = 0;

/// A message with bytes of this output.
pub(super) fn framed(output: Output, bytes: &[u8]) -> Message {
    let mut message = BytesMut::with_capacity(bytes.len() + 1);
    message.put_u8(match output {
        Output::Stdout => 1,
        Output::Stderr => 2,
    });
    message.put_slice(bytes);
    Message::Binary(message.freeze())
}
