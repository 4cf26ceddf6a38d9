//! The integration tests: stories told on the built program and a real Podman (`make test`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod auth;
mod config;
mod containers;
mod crash;
mod engine_down;
mod files;
mod input;
mod layers;
mod limits;
mod ownership;
mod serve;
mod spec;
mod users;
mod workflow;
