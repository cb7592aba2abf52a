//! Steps that take longer than a pass: one at a time for each lease, with a growing pause after a failure.

use std::{
    collections::HashMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use futures::FutureExt as _;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The first pause after a failure; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// What is kept of a job that has not run for this long is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// The longest pause: short enough that a healed RPC or host is used again within half a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many steps may be under way at once; the others wait for a later pass.
const MOST_RUNNING: usize = 64;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// The next step may follow at once.
    Done,
    /// Nothing failed, and looking again makes sense only after a while.
    Later(Duration),
    /// Failed: the pause grows with each failure.
    Failed,
}

/// The steps under way.
pub struct Jobs {
    state: Mutex<HashMap<B256, JobState>>,
    tracker: TaskTracker,
    done: Notify,
    stop: CancellationToken,
}

#[derive(Default)]
struct JobState {
    running: bool,
    failures: u32,
    not_before: Option<Instant>,
}

impl Jobs {
    /// No steps yet. A step that panics cancels `stop`: the node goes down rather than limp.
    pub fn new(stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), tracker: TaskTracker::new(), done: Notify::new(), stop })
    }

    /// Starts `step` for `id` unless one is running, the pause after a failure is not over, or too many run.
    pub fn start(self: &Arc<Self>, id: B256, step: impl Future<Output = JobEnd> + Send + 'static) {
        {
            let mut state = self.lock();
            let now = Instant::now();
            let stale = |job: &JobState| job.not_before.is_some_and(|at| now > at + FORGET_AFTER);
            state.retain(|_, job| job.running || !stale(job));
            if state.values().filter(|job| job.running).count() >= MOST_RUNNING || self.stop.is_cancelled() {
                return;
            }
            let job = state.entry(id).or_default();
            if job.running || job.not_before.is_some_and(|at| now < at) {
                return;
            }
            job.running = true;
        }
        let jobs = Arc::clone(self);
        self.tracker.spawn(async move {
            let end = match AssertUnwindSafe(step).catch_unwind().await {
                Ok(end) => end,
                Err(_) => {
                    tracing::error!(lease = %id, "a step of the engine panicked; stopping the node");
                    jobs.stop.cancel();
                    JobEnd::Failed
                }
            };
            jobs.finish(id, end);
        });
    }

    /// Resolves when a step has ended, so that the next pass can follow at once.
    pub async fn finished(&self) {
        self.done.notified().await;
    }

    /// True while a step for `id` is under way.
    pub fn is_running(&self, id: &B256) -> bool {
        self.lock().get(id).is_some_and(|job| job.running)
    }

    /// Waits for all steps to end, at most `limit`.
    pub async fn drain(&self, limit: Duration) {
        self.tracker.close();
        if tokio::time::timeout(limit, self.tracker.wait()).await.is_err() {
            tracing::warn!("steps were still under way at shutdown; the next start resumes them");
        }
    }

    fn finish(&self, id: B256, end: JobEnd) {
        let mut state = self.lock();
        let job = state.entry(id).or_default();
        job.running = false;
        match end {
            JobEnd::Done => {
                state.remove(&id);
            }
            JobEnd::Later(pause) => {
                *job = JobState { not_before: Some(Instant::now() + pause), ..JobState::default() };
            }
            JobEnd::Failed => {
                let pause = FIRST_PAUSE.saturating_mul(1 << job.failures.min(8)).min(LONGEST_PAUSE);
                job.failures = job.failures.saturating_add(1);
                job.not_before = Some(Instant::now() + pause);
            }
        }
        drop(state);
        self.done.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<B256, JobState>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_step_at_a_time_and_a_pause_after_a_failure() {
        let jobs = Jobs::new(CancellationToken::new());
        let id = B256::repeat_byte(1);
        let gate = Arc::new(Notify::new());
        let held = Arc::clone(&gate);
        jobs.start(id, async move {
            held.notified().await;
            JobEnd::Failed
        });
        assert!(jobs.is_running(&id));
        jobs.start(id, async { unreachable!("a second step for the same lease") });
        gate.notify_one();
        jobs.finished().await;
        jobs.start(id, async { unreachable!("within the pause") });
        assert!(!jobs.is_running(&id));
    }

    #[tokio::test]
    async fn a_panicking_step_stops_the_node() {
        let stop = CancellationToken::new();
        let jobs = Jobs::new(stop.clone());
        jobs.start(B256::ZERO, async { panic!("a bug") });
        stop.cancelled().await;
    }
}
