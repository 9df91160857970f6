//! Where the maps of a world live: owned and changed in place, or shared with other worlds and copied when changed.
//!
//! Knows storage. Must not know actions or properties.

use popmap_core::{Map, MapConfig};

/// The replicas of a world, by slot.
pub trait Replicas<'s, const N: usize> {
    /// Returns a replica.
    fn map(&self, at: usize) -> &Map<'s, N>;

    /// Returns a replica to be changed.
    fn map_mut(&mut self, at: usize) -> &mut Map<'s, N>;

    /// Puts an empty replica in the place of one.
    fn restart(&mut self, at: usize, config: &MapConfig);
}

/// Words for `count` replicas of `words` each, all zero.
pub fn storages(count: usize, words: usize) -> Vec<Vec<u64>> {
    vec![vec![0; words]; count]
}

/// Replicas that are changed in place.
pub struct Owned<'s, const N: usize> {
    maps: Vec<Map<'s, N>>,
    spare: Vec<&'s mut [u64]>,
}

impl<'s, const N: usize> Owned<'s, N> {
    /// Builds empty replicas, one for each config; each later restart takes another of the storages.
    ///
    /// # Panics
    /// When there are fewer storages than replicas, or a config is no good.
    pub fn new(storages: &'s mut [Vec<u64>], configs: &[MapConfig]) -> Self {
        let mut spare: Vec<_> = storages.iter_mut().map(Vec::as_mut_slice).collect();
        let build = |config| {
            Map::new(spare.pop().expect("a storage for each replica"), config).expect("a good config")
        };
        let maps = configs.iter().map(build).collect();
        Self { maps, spare }
    }

    /// Copies the replicas of another world.
    ///
    /// # Panics
    /// When there are fewer storages than replicas.
    pub fn copy_of<'o>(storages: &'s mut [Vec<u64>], others: &impl Replicas<'o, N>) -> Self {
        let mut spare: Vec<_> = storages.iter_mut().map(Vec::as_mut_slice).collect();
        let copy = |at| {
            others
                .map(at)
                .fork(spare.pop().expect("a storage for each replica"))
                .expect("storages are of one size")
        };
        let maps = (0..N).map(copy).collect();
        Self { maps, spare }
    }

    /// Returns the replicas in order of their slots.
    pub fn refs(&self) -> [&Map<'s, N>; N] {
        std::array::from_fn(|at| &self.maps[at])
    }
}

impl<'s, const N: usize> Replicas<'s, N> for Owned<'s, N> {
    fn map(&self, at: usize) -> &Map<'s, N> {
        &self.maps[at]
    }

    fn map_mut(&mut self, at: usize) -> &mut Map<'s, N> {
        &mut self.maps[at]
    }

    fn restart(&mut self, at: usize, config: &MapConfig) {
        let storage = self.spare.pop().expect("a storage for each restart");
        storage.fill(0);
        self.maps[at] = Map::new(storage, config).expect("a good config");
    }
}

/// Replicas of an earlier world, each copied when it is first changed.
pub struct Shared<'s, const N: usize> {
    base: [&'s Map<'s, N>; N],
    changed: [Option<Map<'s, N>>; N],
    storage: [Option<&'s mut [u64]>; N],
}

impl<'s, const N: usize> Shared<'s, N> {
    /// Starts from the replicas `base`; the storages are for those that will be changed.
    pub fn new(base: [&'s Map<'s, N>; N], storages: &'s mut [Vec<u64>]) -> Self {
        let mut storages = storages.iter_mut();
        Self {
            base,
            changed: std::array::from_fn(|_| None),
            storage: std::array::from_fn(|_| storages.next().map(Vec::as_mut_slice)),
        }
    }

    /// Returns the replicas as they are now.
    pub fn refs(&self) -> [&Map<'s, N>; N] {
        std::array::from_fn(|at| self.map(at))
    }

    fn take_storage(&mut self, at: usize) -> &'s mut [u64] {
        self.storage[at].take().expect("a replica restarts at most once in an action")
    }
}

impl<'s, const N: usize> Replicas<'s, N> for Shared<'s, N> {
    fn map(&self, at: usize) -> &Map<'s, N> {
        self.changed[at].as_ref().unwrap_or(self.base[at])
    }

    fn map_mut(&mut self, at: usize) -> &mut Map<'s, N> {
        if self.changed[at].is_none() {
            let storage = self.take_storage(at);
            self.changed[at] = Some(self.base[at].fork(storage).expect("storages are of one size"));
        }
        self.changed[at].as_mut().expect("just copied")
    }

    fn restart(&mut self, at: usize, config: &MapConfig) {
        let storage = self.take_storage(at);
        storage.fill(0);
        self.changed[at] = Some(Map::new(storage, config).expect("a good config"));
    }
}
