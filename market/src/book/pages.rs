//! A list that grows by pages: no element moves, and no half of the memory lies idle after a doubling.

const PAGE: usize = 1_024;

/// Elements by number.
#[derive(Clone, Debug)]
pub(super) struct Pages<T> {
    pages: Vec<Vec<T>>,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T> Pages<T> {
    /// Replaces element `id`, or adds it if it is the next one.
    pub(super) fn set(&mut self, id: u32, value: T) {
        let (page, place) = split(id);
        if page == self.pages.len() {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        let page = &mut self.pages[page];
        match page.get_mut(place) {
            Some(element) => *element = value,
            None => {
                debug_assert_eq!(page.len(), place, "elements are added one after the other");
                page.push(value);
            }
        }
    }

    #[inline]
    pub(super) fn get(&self, id: u32) -> &T {
        let (page, place) = split(id);
        &self.pages[page][place]
    }

    pub(super) fn get_mut(&mut self, id: u32) -> &mut T {
        let (page, place) = split(id);
        &mut self.pages[page][place]
    }
}

#[inline]
fn split(id: u32) -> (usize, usize) {
    let id = id as usize;
    (id / PAGE, id % PAGE)
}

/// Numbers for elements; those that come free are given out again.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    free: Vec<u32>,
    next: u32,
}

impl Ids {
    pub(super) fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    pub(super) fn give(&mut self, id: u32) {
        self.free.push(id);
    }

    /// One above the greatest number that was ever given out.
    pub(super) fn bound(&self) -> u32 {
        self.next
    }
}
