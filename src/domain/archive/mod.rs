//! Tar archives as they come and go, a piece at a time (POSIX pax, with GNU's long names).
//!
//! What comes in is hostile: names that lead out of the directory, types that are no files, numbers that overflow, and
//! an end that never comes. What is taken is regular files, directories and links, each with a plain relative name.

mod header;
mod pax;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use read::{ArchiveReader, Piece};
pub use write::ArchiveWriter;

/// Of everything in a tar archive.
const BLOCK: usize = 512;
