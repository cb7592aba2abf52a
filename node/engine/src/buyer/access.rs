//! Access to the machine: its address as the provider gives it, and whether it answers this node.
//!
//! Nobody pays for long for a machine that does not answer, or is less than what is paid for. What counts is
//! what this node sees itself; that the provider cannot be asked says nothing as long as the machine answers.
//! A machine that was never as it should be is rejected, one that was is closed.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use sublet_base::phase::OnFailure;
use sublet_base::ssh;
use sublet_market::{Access, AccessState, DeclineCode, TradeRequest, TradeResponse};
use sublet_store::{ChainLease, Ending, Purchase};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::{
    Buyer,
    inspect::{Finding, inspect},
};
use crate::{EngineError, jobs::JobEnd};

/// How often a machine that answered is looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The pause while a machine is not reachable yet.
const RETRY: Duration = Duration::from_secs(1);
/// How long a machine may take to greet.
const GREETING_LIMIT: Duration = Duration::from_secs(5);
/// What an ssh server says first.
const GREETING: &[u8; 4] = b"SSH-";

/// What is known of one machine.
#[derive(Debug, Default)]
pub(super) struct Machine {
    looked: Option<Instant>,
    /// Since when it does not answer or is not as it should be, and what was seen.
    missing: Option<(Instant, String)>,
    /// What was found in it, where and when.
    found: Option<(Instant, Access, Finding)>,
}

impl Machine {
    /// What was found at `access`, as long as it counts.
    fn found_at(&self, access: &Access) -> Option<Finding> {
        let (at, place, finding) = self.found.as_ref()?;
        (place == access && at.elapsed() < finding.counts_for()).then(|| finding.clone())
    }
}

impl Buyer {
    /// The address is asked for until it is known, and now and then afterwards: a machine that was started again may
    /// have another port.
    pub(super) fn access_due(&self, purchase: &Purchase) -> bool {
        let machines = self.machines();
        let Some(machine) = machines.get(&purchase.id) else { return true };
        let well = purchase.access.is_some() && machine.missing.is_none();
        let pause = if well { LOOK_EVERY.min(self.give_up_after / 2) } else { Duration::ZERO };
        machine.looked.is_none_or(|at| at.elapsed() >= pause)
    }

    /// Whether a machine is out of reach for too long. While the chain is out of reach too, it is this node's
    /// own network.
    pub(super) fn is_lost(&self, id: B256) -> bool {
        let offline = self.core.chain.newest().age() >= self.give_up_after;
        let missing = |machine: &Machine| {
            machine.missing.as_ref().is_some_and(|(since, _)| since.elapsed() >= self.give_up_after)
        };
        !offline && self.machines().get(&id).is_some_and(missing)
    }

    pub(super) fn machines(&self) -> MutexGuard<'_, HashMap<B256, Machine>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn fetch_access(&self, id: B256) -> Result<JobEnd, EngineError> {
        // The chain says whose machine it is, whatever became of our own note of the accept.
        let lease = self.core.store.get::<ChainLease>(id.as_slice())?;
        let node = lease.and_then(|lease| lease.provider_node());
        let Some(node) = node else { return Ok(JobEnd::Later(RETRY)) };
        let mut purchase = self.purchase_of(id)?;
        let (access, problem) = self.ask_access(id, node, purchase.access.take()).await;
        let seen = match &access {
            Some(access) if purchase.on_failure != OnFailure::Keep => self.look_at(&purchase, access).await,
            Some(_) => Ok(()),
            None => Err(problem.clone().unwrap_or_default()),
        };
        if self.core.store.get::<Purchase>(id.as_slice())?.is_none() {
            // Over, and the file closed, while we looked.
            return Ok(JobEnd::Done);
        }
        self.note_look(id, seen.as_ref().err());
        self.update(id, |p| {
            p.access = access;
            p.reached |= seen.is_ok();
            p.trouble = seen.as_ref().err().cloned().or(problem);
        })?;
        Ok(if seen.is_ok() { JobEnd::Done } else { JobEnd::Later(RETRY) })
    }

    /// Whether the machine is there, and is what is paid for.
    async fn look_at(&self, purchase: &Purchase, access: &Access) -> Result<(), String> {
        greeted(access).await?;
        if !ssh::may_log_in(&self.home, &purchase.manifest) {
            return Ok(());
        }
        let known = self.machines().get(&purchase.id).and_then(|machine| machine.found_at(access));
        let finding = match known {
            Some(finding) => finding,
            None => self.inspect(purchase, access).await,
        };
        if let Finding::Wrong(why) = finding { Err(why) } else { Ok(()) }
    }

    async fn inspect(&self, purchase: &Purchase, access: &Access) -> Finding {
        let id = purchase.id;
        // The provider has checked it: the product fits.
        let paid = purchase.spec.total().unwrap_or(purchase.spec.unit);
        let finding = inspect(&self.home, id, access, &paid).await;
        match &finding {
            Finding::Right => {}
            Finding::Wrong(why) => tracing::warn!(lease = %id, "{why}"),
            Finding::Unknown(why) => {
                tracing::debug!(lease = %id, why, "cannot check the size of the machine")
            }
        }
        let mut machines = self.machines();
        machines.entry(id).or_default().found = Some((Instant::now(), access.clone(), finding.clone()));
        finding
    }

    /// Where the provider says that the machine is, or why not.
    async fn ask_access(
        &self,
        id: B256,
        node: B256,
        known: Option<Access>,
    ) -> (Option<Access>, Option<String>) {
        match self.core.p2p.request(node, Vec::new(), TradeRequest::Access { lease: id }).await {
            Ok(TradeResponse::Access(AccessState::Ready(access))) => (Some(access), None),
            Ok(TradeResponse::Access(AccessState::Pending { state })) => {
                (None, Some(format!("the provider says: {state}")))
            }
            Ok(TradeResponse::Access(AccessState::Gone { reason })) => {
                (None, Some(format!("the provider says that the lease is over: {reason}")))
            }
            // It cannot tell now, which says nothing about the machine either.
            Ok(TradeResponse::Declined(no)) if no.code == DeclineCode::Busy => {
                (known, Some(format!("the provider cannot tell now: {}", no.detail)))
            }
            Ok(TradeResponse::Declined(no)) => {
                (None, Some(format!("the provider gives no access: {}", no.detail)))
            }
            Ok(_) => (None, Some("the provider's answer is invalid".to_owned())),
            // Away for a moment says nothing about the machine: what was known stays.
            Err(error) => (known, Some(format!("cannot reach the provider: {error}"))),
        }
    }

    fn note_look(&self, id: B256, problem: Option<&String>) {
        let mut machines = self.machines();
        let machine = machines.entry(id).or_default();
        machine.looked = Some(Instant::now());
        machine.missing = problem.map(|problem| {
            let since = machine.missing.as_ref().map_or_else(Instant::now, |(since, _)| *since);
            (since, problem.clone())
        });
    }

    /// The machine is lost: the lease is to end, and why is kept.
    pub(super) fn leave(&self, id: B256) -> Result<(), EngineError> {
        let seen = self.machines().get(&id).and_then(|machine| {
            let wrong = matches!(machine.found, Some((_, _, Finding::Wrong(_))));
            machine.missing.clone().map(|(since, problem)| (since, problem, wrong))
        });
        let Some((since, problem, wrong)) = seen else { return Ok(()) };
        let seconds = since.elapsed().as_secs();
        self.update(id, |p| {
            let ending = if p.reached { Ending::Close } else { Ending::Reject };
            let what = match ending {
                _ if wrong => "the machine is not what is paid for",
                Ending::Close => "the machine is gone",
                Ending::Reject => "the machine was never reachable",
            };
            let failure = format!("{what}: {problem}, for {seconds} s");
            tracing::warn!(lease = %id, failure, "giving up the lease");
            p.ending = Some(ending);
            p.failure = Some(failure);
        })
    }
}

/// Whether an ssh server greets there.
async fn greeted(access: &Access) -> Result<(), String> {
    let place = format!("{}:{}", access.host, access.port);
    let look = async {
        let mut stream = TcpStream::connect((access.host.as_str(), access.port)).await?;
        let mut said = [0; GREETING.len()];
        stream.read_exact(&mut said).await?;
        Ok::<_, std::io::Error>(said)
    };
    match tokio::time::timeout(GREETING_LIMIT, look).await {
        Ok(Ok(said)) if said == *GREETING => Ok(()),
        Ok(Ok(_)) => Err(format!("not an ssh server at {place}")),
        Ok(Err(error)) => Err(format!("the machine does not answer at {place}: {error}")),
        Err(_) => Err(format!("no SSH banner from {place} within {} s", GREETING_LIMIT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    async fn served(greeting: &'static [u8]) -> Access {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(greeting).await.unwrap();
        });
        Access { user: "root".into(), host: "127.0.0.1".into(), port, host_key: String::new() }
    }

    #[tokio::test]
    async fn only_an_ssh_server_counts_as_a_machine() {
        assert_eq!(greeted(&served(b"SSH-2.0-dropbear\r\n").await).await, Ok(()));
        let other = greeted(&served(b"HTTP/1.1 400\r\n").await).await.unwrap_err();
        assert!(other.contains("not an ssh server"), "{other}");
        let short = greeted(&served(b"SS").await).await.unwrap_err();
        assert!(short.contains("does not answer"), "{short}");
        let gone = Access { port: 1, ..served(b"").await };
        assert!(greeted(&gone).await.unwrap_err().contains("does not answer"));
    }
}
