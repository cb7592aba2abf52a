//! The schedule of book comparisons: each new peer at once, again a little later for what gossip lost
//! while the two met, and from then on one peer in each interval, the one whose turn is the longest ago.
//! Pure, over an injected clock.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p::PeerId;

/// After this time a newcomer is compared with once more: by then gossip flows both ways, and what could not
/// be judged at first, as with a chain that did not answer, gets a second chance.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// Pause after a session that failed; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Failed,
    /// The peer has hardly anything that our book wants: no reason to ask it sooner, nor later.
    Useless,
    /// The peer does not speak the protocol, or not about our book.
    Pointless,
}

/// The peers that follow our topic.
#[derive(Debug)]
pub(super) struct Agenda {
    interval: Duration,
    next_turn: Instant,
    /// Bounded by the limit of connections.
    peers: HashMap<PeerId, Entry>,
}

#[derive(Debug)]
struct Entry {
    due: Option<Instant>,
    last: Option<Instant>,
    completed: u32,
    failures: u32,
    running: bool,
    pointless: bool,
}

impl Entry {
    fn is_idle(&self) -> bool {
        !self.running && !self.pointless
    }
}

impl Agenda {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, next_turn: now + interval, peers: HashMap::new() }
    }

    pub(super) fn joined(&mut self, peer: PeerId, now: Instant) {
        let fresh =
            Entry { due: Some(now), last: None, completed: 0, failures: 0, running: false, pointless: false };
        self.peers.entry(peer).or_insert(fresh);
    }

    pub(super) fn left(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }

    /// The next peer to ask now; must be followed by [`Self::ended`].
    pub(super) fn next(&mut self, now: Instant) -> Option<PeerId> {
        // Before all else, or peers that are slow on purpose would be due again and again, and nobody had his turn.
        let turn = self.turn(now);
        let due = || {
            self.peers
                .iter()
                .filter(|(_, entry)| entry.is_idle() && entry.due.is_some_and(|due| due <= now))
                .min_by_key(|(_, entry)| (entry.failures, entry.due))
                .map(|(peer, _)| *peer)
        };
        let peer = turn.or_else(due)?;
        let entry = self.peers.get_mut(&peer)?;
        entry.running = true;
        entry.due = None;
        entry.last = Some(now);
        Some(peer)
    }

    fn turn(&mut self, now: Instant) -> Option<PeerId> {
        if now < self.next_turn {
            return None;
        }
        let whole = self.peers.iter().filter(|(_, entry)| entry.is_idle() && entry.due.is_none());
        let peer = whole.min_by_key(|(_, entry)| entry.last).map(|(peer, _)| *peer)?;
        self.next_turn = now + self.interval;
        Some(peer)
    }

    /// The session with `peer` is over.
    pub(super) fn ended(&mut self, peer: &PeerId, end: End, now: Instant) {
        let Some(entry) = self.peers.get_mut(peer) else { return };
        entry.running = false;
        match end {
            End::Completed | End::Useless => {
                if end == End::Completed {
                    entry.failures = 0;
                }
                entry.completed = entry.completed.saturating_add(1);
                entry.due = (entry.completed == 1).then(|| now + SECOND_LOOK);
            }
            End::Failed => {
                let pause = FIRST_PAUSE.saturating_mul(1 << entry.failures.min(10)).min(MAX_PAUSE);
                entry.failures = entry.failures.saturating_add(1);
                entry.due = Some(now + pause);
            }
            End::Pointless => entry.pointless = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    #[test]
    fn a_newcomer_is_asked_at_once_and_once_more_and_then_takes_its_turn() {
        let now = Instant::now();
        let (one, two) = (PeerId::random(), PeerId::random());
        let mut agenda = Agenda::new(INTERVAL, now);
        agenda.joined(one, now);
        assert_eq!(agenda.next(now), Some(one));
        assert_eq!(agenda.next(now), None, "one session with a peer at a time");
        agenda.ended(&one, End::Completed, now);
        assert_eq!(agenda.next(now), None);
        let second = now + SECOND_LOOK;
        assert_eq!(agenda.next(second), Some(one));
        agenda.ended(&one, End::Completed, second);
        agenda.joined(two, second);
        assert_eq!(agenda.next(second), Some(two));
        agenda.ended(&two, End::Completed, second);
        assert_eq!(agenda.next(second + SECOND_LOOK), Some(two));
        agenda.ended(&two, End::Completed, second + SECOND_LOOK);
        let turn = now + INTERVAL;
        assert_eq!(agenda.next(turn), Some(one), "its turn is the longest ago");
        assert_eq!(agenda.next(turn), None, "one peer in an interval");
        agenda.ended(&one, End::Completed, turn);
        assert_eq!(agenda.next(turn + INTERVAL), Some(two));
    }

    #[test]
    fn a_peer_that_fails_is_asked_ever_more_seldom() {
        let (start, peer) = (Instant::now(), PeerId::random());
        let mut agenda = Agenda::new(INTERVAL, start);
        agenda.joined(peer, start);
        let (mut now, mut pauses) = (start, Vec::new());
        for _ in 0..12 {
            let at = now;
            while agenda.next(now).is_none() {
                now += Duration::from_secs(1);
            }
            pauses.push((now - at).as_secs());
            agenda.ended(&peer, End::Failed, now);
        }
        assert_eq!(pauses[..8], [0, 5, 10, 20, 40, 80, 160, 300]);
        assert_eq!(pauses.last(), Some(&MAX_PAUSE.as_secs()));
    }

    #[test]
    fn peers_that_fail_without_end_do_not_take_the_turns_of_others() {
        let start = Instant::now();
        let (honest, slow) = (PeerId::random(), [(); 7].map(|()| PeerId::random()));
        let mut agenda = Agenda::new(INTERVAL, start);
        agenda.joined(honest, start);
        for at in [start, start + SECOND_LOOK] {
            assert_eq!(agenda.next(at), Some(honest));
            agenda.ended(&honest, End::Completed, at);
        }
        slow.iter().for_each(|peer| agenda.joined(*peer, start));
        // One session at a time, each of two minutes: somebody is always due.
        let (mut now, mut turns) = (start + SECOND_LOOK, 0);
        for _ in 0..100 {
            let peer = agenda.next(now).unwrap();
            turns += usize::from(peer == honest);
            now += if peer == honest { Duration::from_secs(1) } else { Duration::from_secs(120) };
            agenda.ended(&peer, if peer == honest { End::Completed } else { End::Failed }, now);
        }
        assert!(turns >= 40, "{turns}");
    }

    #[test]
    fn a_peer_that_has_nothing_for_us_waits_for_its_turn() {
        let (start, peer) = (Instant::now(), PeerId::random());
        let mut agenda = Agenda::new(INTERVAL, start);
        agenda.joined(peer, start);
        assert_eq!(agenda.next(start), Some(peer));
        agenda.ended(&peer, End::Useless, start);
        // It may have been for want of the chain's word.
        assert_eq!(agenda.next(start + SECOND_LOOK), Some(peer));
        agenda.ended(&peer, End::Useless, start + SECOND_LOOK);
        assert_eq!(agenda.next(start + INTERVAL - Duration::from_secs(1)), None);
        assert_eq!(agenda.next(start + INTERVAL), Some(peer));
    }

    #[test]
    fn who_has_left_or_speaks_another_language_is_not_asked() {
        let now = Instant::now();
        let (gone, strange) = (PeerId::random(), PeerId::random());
        let mut agenda = Agenda::new(INTERVAL, now);
        agenda.joined(gone, now);
        agenda.left(&gone);
        agenda.ended(&gone, End::Completed, now);
        agenda.joined(strange, now);
        assert_eq!(agenda.next(now), Some(strange));
        agenda.ended(&strange, End::Pointless, now);
        assert_eq!(agenda.next(now + 10 * INTERVAL), None);
    }
}
