//! Frames on the agent's standard input (orders) and standard output (reports): one byte of kind, four of length (big
//! endian), then so many bytes.
//!
//! The first order says what is to be run or where to connect; `Started` or `Failed` answers it. Then data flows both
//! ways. `Ended` is the last report; the gateway hangs up then. **The end of the agent's input means that nobody is there any more**: it kills what
//! it started and says nothing. The end of the command's input is an order of its own.
//!
//! The gateway may be ahead of the command by [`WINDOW`] bytes of input; `Credit` tells how many more were taken. So the
//! agent always reads on and notices signals and the end. The other way the pipe itself holds the command back.
//!
//! The end of the agent's input may get lost on the way where much is said when the other side goes (conmon). So whatever is
//! said, the gateway answers with `Alive` within [`ALIVE_EVERY`], sooner after [`ALIVE_AFTER`], and goes on to while it does
//! not read. An agent that can say more than [`UNHEARD`] bytes in [`ANSWER`], or anything for [`SILENCE`], and hears nothing,
//! is alone.
//!
//! Either side takes the other for hostile: whoever owns the container can replace the agent or write in its name.

use std::time::Duration;

mod codec;
pub mod files;
mod order;
pub mod processes;
mod report;

pub use codec::{Decoder, Frame, Malformed};
pub use order::{Order, Size, Start};
pub use report::{Cause, Ended, Failure, Report, Stage, Stream};

/// Which language this is. A container keeps the agent that it was made with; a gateway that speaks another version
/// runs its commands without.
pub const VERSION: u8 = 2;

/// Where the agent is in a container.
pub const PATH: &str = "/.podgate/podgate-agent";

/// How often the gateway says that it is there, while something is said or it does not read.
pub const ALIVE_EVERY: Duration = Duration::from_millis(500);

/// After how many bytes it says so sooner.
pub const ALIVE_AFTER: usize = 1024 * 1024;

/// More bytes than fit between the agent and the gateway: who can say so many was heard, or there is nobody.
pub const UNHEARD: usize = 4 * 1024 * 1024;

/// How long the gateway may take to answer for so many.
pub const ANSWER: Duration = Duration::from_millis(700);

/// How long nothing may be heard after something was said.
pub const SILENCE: Duration = Duration::from_secs(30);

/// The most bytes of data in a frame.
pub const CHUNK: usize = 32 * 1024;

/// How many bytes of input may be on their way to the command.
pub const WINDOW: usize = 64 * 1024;
