//! Podgate: an authenticated, multi-tenant API gateway in front of Podman.
//!
//! The way of a request, and what each module may import (a test holds the code against this table):
//!
//! ```text
//! socket ─ serve ─ middleware ─ api ─ policy ──→ grant ─ lifecycle ─ engine ─ Podman
//! ```
//!
//! | module | its one job | may import |
//! |---|---|---|
//! | `domain` | parsed types, the one error | |
//! | `config` | defaults, file, environment; checked whole | `domain` |
//! | `metrics` | what an operator watches | `domain` |
//! | `outgoing` | connections to elsewhere | `domain` |
//! | `store` | tenants, accounts, keys, the ledger of containers, the audit log | `domain`, `config`, `metrics` |
//! | `auth` | from a password or a token to a principal | `domain`, `config`, `metrics`, `outgoing`, `store`, `limit` |
//! | `limit` | how fast | `domain`, `config` |
//! | `policy` | who may do what: grants and admission | `domain`, `config`, `store` |
//! | `streams` | what stays open, and what ends it | `domain`, `auth`, `policy` |
//! | `engine` | the only place that talks to Podman | `domain`, `config`, `metrics`, `policy::grant`, `policy::spec` |
//! | `lifecycle` | several steps over store and engine | `domain`, `config`, `policy::grant`, `store`, `engine` |
//! | `api` | typed operations, one file a resource | `domain`, `config`, `metrics`, `auth`, `policy`, `streams`, `store`, `engine`, `lifecycle` |
//! | `docs` | the documentation page | `domain` |
//! | `middleware` | the layers around every request | `domain`, `config`, `metrics`, `auth`, `limit`, `store`, `api` |
//! | `serve` | accept loop, TLS, drain | `domain`, `config`, `metrics` |
//! | `jobs` | what runs by itself | `domain`, `config`, `metrics`, `auth`, `limit`, `lifecycle`, `policy::grant`, `store`, `streams` |
//! | `app` | wiring | everything |
//! | `cli` | the command line | everything |

pub mod api;
pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
mod docs;
pub mod domain;
pub mod engine;
pub mod jobs;
pub mod lifecycle;
pub mod limit;
pub mod metrics;
pub mod middleware;
mod outgoing;
pub mod policy;
pub mod serve;
pub mod store;
pub mod streams;
