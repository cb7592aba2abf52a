//! Traits and sets of traits by number: each text and each set is kept once, and sets are compared without
//! looking at texts.

use std::collections::HashMap;
use std::sync::Arc;

use super::pages::Ids;
use crate::traits::Traits;

#[derive(Clone, Debug)]
struct Set {
    traits: Traits,
    /// Numbers of its traits, sorted.
    ids: Box<[u32]>,
    uses: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct TraitSets {
    by_traits: HashMap<Traits, u32>,
    sets: Vec<Option<Set>>,
    set_ids: Ids,
    /// Number of each trait, and the number of sets that have it.
    by_text: HashMap<Arc<str>, (u32, u32)>,
    trait_ids: Ids,
}

impl TraitSets {
    /// The number of a set, which counts one use of it.
    pub(super) fn take(&mut self, traits: &Traits) -> u32 {
        if let Some(id) = self.by_traits.get(traits) {
            let id = *id;
            if let Some(Some(set)) = self.sets.get_mut(id as usize) {
                set.uses += 1;
            }
            return id;
        }
        let mut ids: Box<[u32]> = traits.iter().map(|text| self.take_trait(text)).collect();
        ids.sort_unstable();
        let id = self.set_ids.take();
        self.sets.resize(self.set_ids.bound() as usize, None);
        self.sets[id as usize] = Some(Set { traits: traits.clone(), ids, uses: 1 });
        self.by_traits.insert(traits.clone(), id);
        id
    }

    fn take_trait(&mut self, text: &str) -> u32 {
        if let Some((id, uses)) = self.by_text.get_mut(text) {
            *uses += 1;
            return *id;
        }
        let id = self.trait_ids.take();
        self.by_text.insert(text.into(), (id, 1));
        id
    }

    /// One use of the set is over.
    pub(super) fn give(&mut self, id: u32) {
        let Some(place) = self.sets.get_mut(id as usize) else { return };
        if let Some(set) = place.as_mut().filter(|set| set.uses > 1) {
            set.uses -= 1;
            return;
        }
        let Some(set) = place.take() else { return };
        self.by_traits.remove(&set.traits);
        self.set_ids.give(id);
        set.traits.iter().for_each(|text| self.give_trait(text));
    }

    fn give_trait(&mut self, text: &str) {
        let Some((id, uses)) = self.by_text.get_mut(text) else { return };
        *uses -= 1;
        if *uses == 0 {
            let id = *id;
            self.by_text.remove(text);
            self.trait_ids.give(id);
        }
    }

    pub(super) fn traits(&self, id: u32) -> Traits {
        let set = self.sets.get(id as usize).and_then(Option::as_ref);
        set.map_or_else(Traits::default, |set| set.traits.clone())
    }

    /// Numbers of a set's traits, sorted.
    pub(super) fn ids(&self, id: u32) -> &[u32] {
        self.sets.get(id as usize).and_then(Option::as_ref).map_or(&[], |set| &set.ids)
    }

    /// Numbers of these traits, sorted, but for those that no set has.
    pub(super) fn known(&self, traits: &Traits) -> Vec<u32> {
        let known = traits.iter().filter_map(|text| self.by_text.get(text));
        let mut ids: Vec<u32> = known.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// One above the greatest number of a set.
    pub(super) fn bound(&self) -> usize {
        self.sets.len()
    }
}

/// Whether all of `wanted` are among `ids`; both are sorted.
pub(super) fn includes(ids: &[u32], wanted: &[u32]) -> bool {
    wanted.iter().all(|id| ids.binary_search(id).is_ok())
}
