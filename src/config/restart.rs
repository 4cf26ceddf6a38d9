//! What a running gateway does not take over when the configuration is read again.

use super::{Config, Http};

impl Config {
    /// The keys of `new` that differ and hold only after a restart: what is bound, opened or sized at the start.
    ///
    /// Names every field, so that a new one has to be thought about.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let Self {
            data_dir,
            listen,
            fail_point,
            engine,
            agent_path,
            terminal_idle,
            store,
            audit,
            auth,
            issuers,
            limits: _,
            http,
            idempotency,
            log,
            operator,
            output,
            profiles: _,
            quotas: _,
            shares: _,
            images,
        } = self;
        let all = [
            ("data_dir", *data_dir == new.data_dir),
            ("listen", *listen == new.listen),
            ("fail_point", *fail_point == new.fail_point),
            ("engine", *engine == new.engine),
            ("agent", *agent_path == new.agent_path),
            ("terminals", *terminal_idle == new.terminal_idle),
            ("store", *store == new.store),
            ("audit", *audit == new.audit),
            ("auth", *auth == new.auth),
            ("issuers", *issuers == new.issuers),
            ("http", connections(http) == connections(&new.http)),
            ("idempotency", *idempotency == new.idempotency),
            ("log.format", log.json == new.log.json),
            ("operator", *operator == new.operator),
            ("output", *output == new.output),
            ("images.pulls", images.pulls == new.images.pulls),
            ("images.keep_free_bytes", images.keep_free_bytes == new.images.keep_free_bytes),
            ("images.pull_seconds", images.pull_patience == new.images.pull_patience),
        ];
        all.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
    }
}

/// What of `http` belongs to the connections, and not to the requests on them.
fn connections(http: &Http) -> [u64; 9] {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    [
        http.handshake_deadline_seconds,
        http.header_deadline_seconds,
        http.idle_seconds,
        http.drain_seconds,
        count(http.max_header_bytes),
        count(http.max_headers),
        count(http.max_connections),
        count(http.max_connections_per_address),
        http.max_streams_per_connection.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_restart_is_named() {
        let old = Config::defaults();
        assert_eq!(old.needs_restart(&old), Vec::<&str>::new());
        let mut new = old.clone();
        new.limits.tenant.burst += 1;
        new.log.level = "debug".into();
        new.http.max_body_bytes += 1;
        new.profiles.clear();
        assert_eq!(old.needs_restart(&new), Vec::<&str>::new());
        new.engine.max_workers += 1;
        new.http.idle_seconds += 1;
        new.log.json = !new.log.json;
        assert_eq!(old.needs_restart(&new), ["engine", "http", "log.format"]);
    }
}
