//! The integration tests: stories told on the built program and a real Podman (`make test`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod auth;
mod config;
mod containers;
mod crash;
mod engine_down;
mod exec;
mod files;
mod input;
mod layers;
mod limits;
mod logs;
mod ownership;
mod races;
mod serve;
mod spec;
mod tokens;
mod users;
mod workflow;
