//! An EC2 instance as the adapter sees it, and as the node sees it.

use alloy_primitives::B256;
use aws_sdk_ec2::types::{Instance as Ec2Instance, InstanceStateName};
use sublet_adapter::{Instance, InstanceState};
use sublet_market::{Access, Resources};

use crate::config::Ready;
use crate::tags::{self, Labels};

/// The reason code of a stop that somebody asked EC2 for, as opposed to one from inside the machine or from AWS.
const STOPPED_AS_ASKED: &str = "Client.UserInitiatedShutdown";

/// EC2's states. <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Running,
    Stopping,
    Stopped,
    /// Shutting down for good, or already gone; it is still shown for about an hour.
    Gone,
}

/// One instance.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) id: String,
    pub(crate) lease: B256,
    pub(crate) phase: Phase,
    /// Unix seconds of its last start.
    pub(crate) launched: i64,
    /// The public IPv4 address, while it has one.
    pub(crate) address: Option<String>,
    /// Why it is in this state: EC2's code, and its words.
    pub(crate) reason: Option<(String, String)>,
    /// The tags, or what is wrong with them.
    pub(crate) labels: Result<Labels, String>,
}

impl Machine {
    /// Reads an instance; `None` for one without a lease's tag.
    pub(crate) fn read(instance: &Ec2Instance) -> Option<Self> {
        Self::with_lease(instance, tags::lease_of(instance.tags())?)
    }

    /// Reads an instance that is known to be a lease's, with or without its tags.
    pub(crate) fn with_lease(instance: &Ec2Instance, lease: B256) -> Option<Self> {
        let phase = match instance.state().and_then(|state| state.name())? {
            InstanceStateName::Pending => Phase::Pending,
            InstanceStateName::Running => Phase::Running,
            InstanceStateName::Stopping => Phase::Stopping,
            InstanceStateName::Stopped => Phase::Stopped,
            _ => Phase::Gone,
        };
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let reason = instance.state_reason().map(|reason| (text(reason.code()), text(reason.message())));
        Some(Self {
            id: instance.instance_id()?.to_owned(),
            lease,
            phase,
            launched: instance.launch_time().map_or(0, |time| time.secs()),
            address: instance.public_ip_address().filter(|address| !address.is_empty()).map(str::to_owned),
            reason,
            labels: Labels::read(instance.tags()),
        })
    }

    /// Oldest first; the first of several is the lease's machine.
    pub(crate) fn age(&self) -> (i64, &str) {
        (self.launched, &self.id)
    }

    /// Whether this start was seen to be ready.
    pub(crate) fn is_ready(&self, when: Ready) -> bool {
        let noted = self.labels.as_ref().is_ok_and(|labels| labels.ready_since == Some(self.launched));
        self.phase == Phase::Running && (when == Ready::Running || noted)
    }

    /// How the tenant gets in, while there is a public address.
    pub(crate) fn access(&self) -> Option<Access> {
        let (labels, host) = (self.labels.as_ref().ok()?, self.address.clone()?);
        Some(Access {
            user: labels.user.clone(),
            host,
            port: labels.ssh_port,
            host_key: labels.host_key.clone(),
        })
    }

    /// What the node is told.
    pub(crate) fn instance(&self, when: Ready) -> Instance {
        // One whose tags are damaged holds nothing that could be counted.
        let total = self.labels.as_ref().map_or_else(|_| Resources::default(), |labels| labels.total);
        let (id, state, access) = (self.id.clone(), self.state(when), self.access());
        Instance { lease: self.lease, id, state, access, total }
    }

    fn state(&self, when: Ready) -> InstanceState {
        if let Err(why) = &self.labels {
            return InstanceState::Failed { reason: format!("{why}; deprovision it") };
        }
        match self.phase {
            Phase::Running if self.is_ready(when) => InstanceState::Running,
            Phase::Pending | Phase::Running => InstanceState::Starting,
            Phase::Stopping | Phase::Stopped => match &self.reason {
                Some((code, message)) if code != STOPPED_AS_ASKED => {
                    InstanceState::Failed { reason: format!("it was stopped: {code} {message}") }
                }
                _ => InstanceState::Stopped,
            },
            Phase::Gone => InstanceState::Failed { reason: self.why_gone() },
        }
    }

    /// EC2's words for why it ended.
    pub(crate) fn why_gone(&self) -> String {
        let (code, message) = self.reason.clone().unwrap_or_default();
        format!("EC2 has ended instance {}: {code} {message}", self.id)
    }
}

/// Those that are still there, by lease and age.
pub(crate) fn sorted(mut machines: Vec<Machine>) -> Vec<Machine> {
    machines.retain(|machine| machine.phase != Phase::Gone);
    machines.sort_by(|a, b| (a.lease, a.age()).cmp(&(b.lease, b.age())));
    machines
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ec2::primitives::DateTime;
    use aws_sdk_ec2::types::{InstanceState as Ec2State, StateReason, Tag};

    fn machine(state: InstanceStateName, tags: Vec<Tag>, reason: Option<&str>) -> Machine {
        let reason = reason.map(|code| StateReason::builder().code(code).message("because").build());
        let instance = Ec2Instance::builder()
            .instance_id("i-1")
            .launch_time(DateTime::from_secs(1000))
            .public_ip_address("192.0.2.1")
            .state(Ec2State::builder().name(state).build())
            .set_state_reason(reason)
            .set_tags(Some(tags))
            .build();
        Machine::with_lease(&instance, B256::repeat_byte(1)).unwrap()
    }

    fn tags() -> Vec<Tag> {
        let labels = Labels {
            lease: B256::repeat_byte(1),
            provider: Default::default(),
            order: B256::ZERO,
            total: Default::default(),
            user: "admin".into(),
            ssh_port: 2222,
            host_key: "ssh-ed25519 AAAA".into(),
            ready_since: None,
        };
        labels.tags(0)
    }

    #[test]
    fn running_counts_once_this_start_was_seen_to_be_ready() {
        let mut with_note = tags();
        with_note.push(tags::ready_tag(1000));
        let mut with_old_note = tags();
        with_old_note.push(tags::ready_tag(999));
        for (tags, when, state) in [
            (tags(), Ready::Running, InstanceState::Running),
            (tags(), Ready::Ssh, InstanceState::Starting),
            (with_old_note, Ready::Ssh, InstanceState::Starting),
            (with_note, Ready::Ssh, InstanceState::Running),
        ] {
            let instance = machine(InstanceStateName::Running, tags, None).instance(when);
            assert_eq!(instance.state, state);
            let access = instance.access.unwrap();
            assert_eq!(
                (access.user.as_str(), access.host.as_str(), access.port),
                ("admin", "192.0.2.1", 2222)
            );
        }
    }

    #[test]
    fn a_stop_that_nobody_asked_for_is_a_failure() {
        let state = |reason| machine(InstanceStateName::Stopped, tags(), reason).instance(Ready::Ssh).state;
        assert_eq!(state(Some(STOPPED_AS_ASKED)), InstanceState::Stopped);
        assert_eq!(state(None), InstanceState::Stopped);
        let failed = state(Some("Client.InstanceInitiatedShutdown"));
        assert!(matches!(failed, InstanceState::Failed { reason } if reason.contains("InstanceInitiated")));
    }

    #[test]
    fn damaged_tags_are_a_failure_that_can_be_ended() {
        let instance = machine(InstanceStateName::Running, Vec::new(), None).instance(Ready::Running);
        assert!(matches!(instance.state, InstanceState::Failed { reason } if reason.contains("deprovision")));
        assert_eq!(instance.access, None);
    }
}
