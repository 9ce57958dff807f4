//! Users' windows in memory: what the store has is read when a user comes, and forgotten when others are
//! more recent. States that are not yet committed are never forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::error::StreamError;
use crate::incoming::Place;
use crate::windows::{WindowPlan, WindowState};

/// A user's key and state, as bytes.
pub type StoredUser = (Vec<u8>, Vec<u8>);

/// Where states come from.
pub trait UserStates: Send {
    /// The states of those users who have one, as key and bytes.
    ///
    /// # Errors
    /// What keeps them from being read.
    fn load(&self, users: &[&[u8]]) -> Result<Vec<StoredUser>, StreamError>;
}

/// Nobody is known: a stream that is only tried out.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStates;

impl UserStates for NoStates {
    fn load(&self, _: &[&[u8]]) -> Result<Vec<StoredUser>, StreamError> {
        Ok(Vec::new())
    }
}

/// The states in memory.
#[derive(Debug)]
pub(crate) struct UserCache {
    users: HashMap<String, Cached>,
    bound: usize,
    /// Users by the batch that last touched them.
    touched: BTreeMap<u64, usize>,
    batch: u64,
}

#[derive(Debug)]
struct Cached {
    state: WindowState,
    /// Under which right it was read: with another one, somebody else may have changed it.
    right: (i32, i64),
    batch: u64,
}

impl UserCache {
    pub fn new(bound: usize) -> Self {
        UserCache { users: HashMap::new(), bound: bound.max(1), touched: BTreeMap::new(), batch: 0 }
    }

    /// Makes the states of a batch's users present. Batches up to `committed` are in the store.
    pub fn begin<'a>(
        &mut self,
        wanted: impl Iterator<Item = (&'a str, Place)>,
        (batch, committed): (u64, u64),
        plan: &WindowPlan,
        store: &dyn UserStates,
    ) -> Result<(), StreamError> {
        self.batch = batch;
        let mut absent: BTreeMap<&str, (i32, i64)> = BTreeMap::new();
        for (user, place) in wanted {
            let right = (place.partition, place.epoch);
            // Under another right of the same partition the store knows better: what this member has scored since and not
            // committed is void, and nothing of it can be committed any more. Of another partition it may be on its way.
            let is_known = self
                .users
                .get(user)
                .is_some_and(|cached| cached.right == right || (cached.right.0 != right.0 && cached.batch > committed));
            if !is_known {
                absent.entry(user).or_insert(right);
            }
        }
        let names: Vec<&[u8]> = absent.keys().map(|user| user.as_bytes()).collect();
        let mut found: HashMap<Vec<u8>, Vec<u8>> = store.load(&names)?.into_iter().collect();
        for (user, right) in absent {
            let state = match found.remove(user.as_bytes()) {
                Some(bytes) => WindowState::from_bytes(&bytes, plan)?,
                None => WindowState::new(),
            };
            if let Some(old) = self.users.insert(user.to_owned(), Cached { state, right, batch }) {
                self.leave(old.batch);
            }
            *self.touched.entry(batch).or_default() += 1;
        }
        Ok(())
    }

    /// A user's state, which [`UserCache::begin`] made present.
    pub fn state(&mut self, user: &str) -> Option<&mut WindowState> {
        let cached = self.users.get_mut(user)?;
        let before = std::mem::replace(&mut cached.batch, self.batch);
        if before != self.batch {
            leave(&mut self.touched, before);
            *self.touched.entry(self.batch).or_default() += 1;
        }
        Some(&mut cached.state)
    }

    /// The states of users as bytes.
    pub fn bytes(&self, users: &BTreeSet<&str>, plan: &WindowPlan) -> Vec<StoredUser> {
        let of = |user: &&str| Some((user.as_bytes().to_vec(), self.users.get(*user)?.state.to_bytes(plan)));
        users.iter().filter_map(of).collect()
    }

    /// Forgets those who were not seen for longest, down to the bound.
    pub fn forget(&mut self, committed: u64) {
        if self.users.len() <= self.bound {
            return;
        }
        let (mut left, mut oldest) = (self.users.len(), 0);
        for (&batch, &n) in self.touched.range(..=committed) {
            if left <= self.bound {
                break;
            }
            left -= n;
            oldest = batch;
        }
        if oldest == 0 {
            return;
        }
        self.users.retain(|_, cached| cached.batch > oldest);
        self.touched.retain(|&batch, _| batch > oldest);
    }

    pub fn len(&self) -> usize {
        self.users.len()
    }

    fn leave(&mut self, batch: u64) {
        leave(&mut self.touched, batch);
    }
}

fn leave(touched: &mut BTreeMap<u64, usize>, batch: u64) {
    if let Some(n) = touched.get_mut(&batch) {
        *n -= 1;
        if *n == 0 {
            touched.remove(&batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::windows::WindowsConfig;

    struct Asked(Mutex<Vec<String>>);

    impl UserStates for Asked {
        fn load(&self, users: &[&[u8]]) -> Result<Vec<StoredUser>, StreamError> {
            let names = users.iter().map(|user| String::from_utf8_lossy(user).into_owned());
            self.0.lock().unwrap().extend(names);
            Ok(Vec::new())
        }
    }

    fn plan() -> WindowPlan {
        let text = "windows: {user: u, time: t, features: {a: {count: x, over: 1d}}}";
        WindowPlan::new(&WindowsConfig::from_yaml(text, "s").unwrap()).unwrap()
    }

    #[test]
    fn users_are_read_once_per_right_and_forgotten_when_committed_and_old() {
        let plan = plan();
        let asked = Asked(Mutex::default());
        let mut cache = UserCache::new(2);
        let place = |epoch| Place { partition: 0, offset: 0, epoch };
        let mut begin = |users: &[&'static str], epoch, batches| {
            let wanted = users.iter().map(|user| (*user, place(epoch)));
            cache.begin(wanted, batches, &plan, &asked).unwrap();
            users.iter().for_each(|user| assert!(cache.state(user).is_some()));
            cache.forget(batches.1);
            cache.len()
        };
        assert_eq!(begin(&["a", "b", "c"], 1, (1, 0)), 3);
        assert_eq!(begin(&["a"], 1, (2, 1)), 1);
        assert_eq!(begin(&["a", "b"], 1, (3, 2)), 2);
        assert_eq!(begin(&["a"], 2, (4, 2)), 2);
        assert_eq!(begin(&["a"], 2, (5, 4)), 2);
        assert_eq!(begin(&["a"], 3, (6, 5)), 2);
        assert_eq!(*asked.0.lock().unwrap(), ["a", "b", "c", "b", "a", "a"]);
    }

    #[test]
    fn what_was_scored_before_a_partition_was_lost_and_taken_again_is_forgotten() {
        let plan = plan();
        let asked = Asked(Mutex::default());
        let mut cache = UserCache::new(10);
        let mut begin = |partition, epoch, batches| {
            let place = Place { partition, offset: 0, epoch };
            cache.begin([("a", place)].into_iter(), batches, &plan, &asked).unwrap();
            cache.state("a").unwrap();
            asked.0.lock().unwrap().len()
        };
        assert_eq!(begin(0, 1, (1, 0)), 1);
        // Batch 1 was never committed under epoch 1, and its events come again under epoch 2: the store is asked.
        assert_eq!(begin(0, 2, (2, 0)), 2);
        assert_eq!(begin(0, 2, (3, 0)), 2);
        // In another partition the state that is not committed yet is the only one there is.
        assert_eq!(begin(1, 1, (4, 0)), 2);
    }
}
