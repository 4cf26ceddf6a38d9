//! argon2id, on blocking threads, a bounded number at once (SECURITY rule 19).

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::config;
use crate::domain::{Error, Kind, Result};

/// Hashes and verifies; further work waits in a bounded queue, and past that gets 429.
#[derive(Clone)]
pub struct Passwords {
    hasher: Argon2<'static>,
    threads: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    dummy: Arc<str>,
}

impl Passwords {
    /// Prepares the hasher, and the hash that unknown accounts are compared with.
    pub fn new(config: &config::Auth) -> Result<Self> {
        let params = Params::new(config.hash_memory_kib, config.hash_passes, 1, None).map_err(Error::internal)?;
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy = hasher.hash_password(b"nobody's").map_err(Error::internal)?.to_string();
        Ok(Self {
            hasher,
            threads: Arc::new(Semaphore::new(config.hash_threads)),
            admitted: Arc::new(Semaphore::new(config.hash_threads + config.hash_queue)),
            dummy: dummy.into(),
        })
    }

    /// The hash of a new password, PHC string.
    pub async fn hash(&self, password: String) -> Result<String> {
        let hasher = self.hasher.clone();
        let hash = self.on_a_thread(move || hasher.hash_password(password.as_bytes()).map(|hash| hash.to_string()));
        hash.await?.map_err(Error::internal)
    }

    /// Whether `password` is the one behind `hash`; with no hash the same work is done and the answer is no.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool> {
        let hasher = self.hasher.clone();
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.to_string());
        let matches = self.on_a_thread(move || {
            let parsed = PasswordHash::new(&hash)?;
            Ok::<_, argon2::password_hash::phc::Error>(hasher.verify_password(password.as_bytes(), &parsed).is_ok())
        });
        Ok(matches.await?.map_err(Error::internal)? && known)
    }

    async fn on_a_thread<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let busy = |_| Error::new(Kind::RateLimited(1), "too many sign-ins at once; try again");
        let _admitted = self.admitted.try_acquire().map_err(busy)?;
        // The permit moves into the thread: a caller who leaves must not free the place of work that goes on.
        let permit = Arc::clone(&self.threads).acquire_owned().await.map_err(Error::internal)?;
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        task.await.map_err(Error::internal)
    }
}
