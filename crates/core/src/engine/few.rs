//! A map of few entries: a sorted list that takes no more room than they do.
//!
//! There are two in each alert, mostly with one entry, where a tree would set room for eleven aside.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Sorted by key, each key once. One entry stands where the map does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Few<K, V>(List<(K, V)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum List<T> {
    None,
    One(T),
    /// Two or more.
    Many(Vec<T>),
}

impl<T> List<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            List::None => &[],
            List::One(one) => std::slice::from_ref(one),
            List::Many(many) => many,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [T] {
        match self {
            List::None => &mut [],
            List::One(one) => std::slice::from_mut(one),
            List::Many(many) => many,
        }
    }

    fn take(&mut self) -> Vec<T> {
        match std::mem::replace(self, List::None) {
            List::None => Vec::new(),
            List::One(one) => vec![one],
            List::Many(many) => many,
        }
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(mut all: Vec<T>) -> Self {
        match all.pop() {
            None => List::None,
            Some(one) if all.is_empty() => List::One(one),
            Some(last) => {
                all.push(last);
                List::Many(all)
            }
        }
    }
}

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Few(List::None)
    }
}

impl<K: Ord + Copy, V> Few<K, V> {
    fn find(&self, key: &K) -> Result<usize, usize> {
        self.0.as_slice().binary_search_by(|(k, _)| k.cmp(key))
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.find(key).ok().map(|i| &self.0.as_slice()[i].1)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.find(key).ok().map(|i| &mut self.0.as_mut_slice()[i].1)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(i) => Some(std::mem::replace(&mut self.0.as_mut_slice()[i].1, value)),
            Err(i) => {
                let mut all = self.0.take();
                if all.is_empty() {
                    self.0 = List::One((key, value));
                } else {
                    all.insert(i, (key, value));
                    self.0 = List::Many(all);
                }
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.find(key).ok()?;
        let mut all = self.0.take();
        let (_, value) = all.remove(place);
        self.0 = all.into();
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_slice().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.as_slice().iter().map(|(k, v)| (k, v))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.as_slice().iter().map(|(k, _)| k)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.as_slice().iter().map(|(_, v)| v)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.as_mut_slice().iter_mut().map(|(_, v)| v)
    }
}

impl<K: Ord + Copy, V> Few<K, V> {
    /// The value at `key`, which `make` makes if there is none.
    pub(crate) fn or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if !self.contains_key(&key) {
            self.insert(key, make());
        }
        let place = self.find(&key).unwrap_or(0);
        &mut self.0.as_mut_slice()[place].1
    }
}

impl<K: Ord + Copy, V: Default> Few<K, V> {
    /// The value at `key`, which is made if there is none.
    pub(crate) fn or_default(&mut self, key: K) -> &mut V {
        self.or_insert_with(key, V::default)
    }
}

impl<K: Serialize, V: Serialize> Serialize for Few<K, V> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(s)
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for Few<K, V> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut list = Vec::<(K, V)>::deserialize(d)?;
        list.sort_by(|(a, _), (b, _)| a.cmp(b));
        list.shrink_to_fit();
        Ok(Few(list.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0u8..8, any::<bool>(), any::<u8>()), 0..64)) {
            let (mut few, mut map) = (Few::default(), BTreeMap::new());
            for (key, insert, value) in steps {
                match insert {
                    true => prop_assert_eq!(few.insert(key, value), map.insert(key, value)),
                    false => prop_assert_eq!(few.remove(&key), map.remove(&key)),
                }
                prop_assert!(few.iter().eq(map.iter()) && few.len() == map.len());
            }
            let json = serde_json::to_string(&few).unwrap();
            prop_assert_eq!(serde_json::from_str::<Few<u8, u8>>(&json).unwrap(), few);
        }
    }
}
