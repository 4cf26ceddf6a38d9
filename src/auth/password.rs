//! argon2id, on threads of its own, a bounded number at once (SECURITY rule 19).

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::config;
use crate::domain::{Error, Kind, Result};
use crate::metrics::Queue;

/// How nice the threads are to the rest of the process: while others want the processor, they get about a tenth of what
/// one of those gets. A storm of sign-ins delays sign-ins.
const NICENESS: i32 = 10;

/// How many times as long as it worked a thread then rests, all of them together. Niceness counts among the threads of one
/// program only: Podman's stand in another group of the scheduler (a session's, or a unit's), with which ours shares alike. So what sign-ins may
/// take of the machine is bounded by this: of `hash_threads` processors a quarter, and a tenth for wrong passwords, of which
/// a storm is made.
const REST: u32 = 3;
const REST_WHEN_WRONG: u32 = 9;

/// And at most: a machine that stood still is no reason to keep everybody out.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// How many hash at the same moment, whatever `hash_threads` says: who wakes up must find a processor that has time.
fn at_once() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).max(1)
}

/// Says whether it was anything but a wrong password.
type Work = Box<dyn FnOnce() -> bool + Send>;

/// Hashes and verifies; further work waits in a bounded queue, and past that gets 429.
#[derive(Clone)]
pub struct Passwords {
    hasher: Argon2<'static>,
    work: mpsc::UnboundedSender<Work>,
    admitted: Arc<Semaphore>,
    dummy: Arc<str>,
    queue: Queue,
}

impl Passwords {
    /// Prepares the hasher, and the hash that unknown accounts are compared with.
    pub fn new(config: &config::Auth, queue: Queue) -> Result<Self> {
        let params = Params::new(config.hash_memory_kib, config.hash_passes, 1, None).map_err(Error::internal)?;
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy = hasher.hash_password(b"nobody's").map_err(Error::internal)?.to_string();
        let (work, works) = mpsc::unbounded_channel();
        let works = Arc::new(Mutex::new(works));
        let turns = Arc::new(Turns::new(config.hash_threads));
        for number in 0..config.hash_threads {
            let (works, turns) = (Arc::clone(&works), Arc::clone(&turns));
            let thread = std::thread::Builder::new().name(format!("hash-{number}"));
            thread.spawn(move || toil(&works, &turns)).map_err(Error::internal)?;
        }
        let admitted = Arc::new(Semaphore::new(config.hash_threads + config.hash_queue));
        Ok(Self { hasher, work, admitted, dummy: dummy.into(), queue })
    }

    /// The hash of a new password, PHC string.
    pub async fn hash(&self, password: String) -> Result<String> {
        let hasher = self.hasher.clone();
        let hash = move || hasher.hash_password(password.as_bytes()).map(|hash| hash.to_string());
        let hash = self.on_a_thread(hash, |_| true);
        hash.await?.map_err(Error::internal)
    }

    /// Whether `password` is the one behind `hash`; with no hash the same work is done and the answer is no.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool> {
        let hasher = self.hasher.clone();
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.to_string());
        let verify = move || {
            let parsed = PasswordHash::new(&hash)?;
            Ok::<_, argon2::password_hash::phc::Error>(hasher.verify_password(password.as_bytes(), &parsed).is_ok())
        };
        let matches = self.on_a_thread(verify, |matches| matches!(matches, Ok(true)));
        Ok(matches.await?.map_err(Error::internal)? && known)
    }

    async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        is_right: fn(&T) -> bool,
    ) -> Result<T> {
        let busy = |_| Error::new(Kind::RateLimited(1), "too many sign-ins at once; try again");
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(busy)?;
        let (answer, answered) = oneshot::channel();
        let waiting = self.queue.come();
        let work: Work = Box::new(move || {
            let _running = waiting.served();
            // The place is free once the work is done, not when its caller leaves.
            let _admitted = admitted;
            // Whose caller left before it began is not worth doing.
            if answer.is_closed() {
                return true;
            }
            let done = work();
            let is_right = is_right(&done);
            let _ = answer.send(done);
            is_right
        });
        self.work.send(work).map_err(|_| Error::internal("the threads that hash are gone"))?;
        answered.await.map_err(|_| Error::internal("hashing failed"))
    }
}

/// How many threads may work, and when the next may begin.
struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
    rested: Mutex<Instant>,
    threads: u32,
}

impl Turns {
    fn new(threads: usize) -> Self {
        Self {
            free: Mutex::new(at_once()),
            freed: Condvar::new(),
            rested: Mutex::new(Instant::now()),
            threads: u32::try_from(threads).unwrap_or(1).max(1),
        }
    }

    /// Sleeps until the work that was done is rested from.
    fn rest(&self) {
        let rested = *self.rested.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::sleep(rested.saturating_duration_since(Instant::now()));
    }

    /// What one thread has to rest, all of them do for the part that is theirs.
    fn tire(&self, rest: Duration) {
        let mut rested = self.rested.lock().unwrap_or_else(PoisonError::into_inner);
        *rested = (*rested).max(Instant::now()) + rest / self.threads;
    }

    /// Waits for a turn and works in it.
    fn take(&self, work: impl FnOnce()) {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        drop(free);
        // Work that panics must not take its thread along.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(work));
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.freed.notify_one();
    }
}

/// Works until nobody can send any more.
fn toil(queue: &Mutex<mpsc::UnboundedReceiver<Work>>, turns: &Turns) {
    // Of this thread alone, on Linux. Without it everything works, only less evenly.
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "hashing runs at the same priority as everything else");
    }
    loop {
        let mut works = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(work) = works.blocking_recv() else { return };
        // With the queue in hand, so that nobody's password is looked at sooner because another thread is fresh: who
        // tries names in turn would take that for a difference between them.
        turns.rest();
        drop(works);
        let (mut begun, mut is_right) = (Instant::now(), true);
        turns.take(|| {
            begun = Instant::now();
            is_right = work();
        });
        // The longer it took, the busier everybody is.
        let rest = begun.elapsed() * if is_right { REST } else { REST_WHEN_WRONG };
        turns.tire(rest.min(LONGEST_REST));
    }
}
