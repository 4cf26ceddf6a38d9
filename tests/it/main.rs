//! The integration tests: stories told on the built program and a real Podman (`make test`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod administration;
mod agent;
mod api_keys;
mod attach;
mod attempts;
mod audit;
mod audit_log;
mod auth;
mod backup;
mod command_line;
mod compatibility;
mod config;
mod containers;
mod crash;
mod deletion;
mod doctor;
mod documents;
mod engine_down;
mod exec;
mod expiry;
mod files;
mod files_audit;
mod files_bounds;
mod files_content;
mod files_crash;
mod files_memory;
mod files_tree;
mod follow;
mod idempotency;
mod images;
mod index;
mod input;
mod issuer_keys;
mod issuers;
mod layers;
mod life;
mod limits;
mod lists;
mod logs;
mod operations;
mod orphans;
mod ownership;
mod ports;
mod profiles;
mod quotas;
mod races;
mod readme;
mod reload;
mod serve;
mod sessions;
mod spec;
mod stores;
mod supervised;
mod tokens;
mod tunnels;
mod users;
mod volumes;
mod watching;
mod websockets;
mod wedged;
mod workflow;
