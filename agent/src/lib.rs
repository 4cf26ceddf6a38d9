//! What the gateway and the program inside the container share: how they speak to each other.

pub mod protocol;
