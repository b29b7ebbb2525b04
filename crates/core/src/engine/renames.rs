//! Receivers and integrations that a new configuration gives other names.
//!
//! An incident is open at an endpoint: a URL, with the credential that the request carries. The integration
//! that leads there closes it, under whatever name the configuration has.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::policy::{IntegrationRef, Policy, Receiver};

/// The receivers to which `new` gives another name, with both names. The name of such a receiver is gone,
/// and one new receiver has the same endpoints. Of several such receivers, the first by name goes on. `idle`
/// says whether nothing is open under the new name, since an earlier receiver may have had it.
pub(crate) fn renamed(
    old: &Policy,
    new: &Policy,
    idle: impl Fn(&SmolStr) -> bool,
) -> Vec<(SmolStr, SmolStr)> {
    // By endpoints: the names that are gone, and the new ones.
    let mut names: BTreeMap<Vec<u64>, [Vec<SmolStr>; 2]> = BTreeMap::new();
    for (index, (policy, other)) in [(old, new), (new, old)].into_iter().enumerate() {
        for (name, receiver) in
            policy.receivers.iter().filter(|(name, _)| !other.receivers.contains_key(*name))
        {
            if let Some(endpoints) = endpoints(receiver) {
                names.entry(endpoints).or_default()[index].push(name.clone());
            }
        }
    }
    // One receiver goes on under the new name. Two of them would be mixed.
    let pair = |[gone, new]: [Vec<SmolStr>; 2]| match (&gone[..], &new[..]) {
        ([old, ..], [new]) if idle(new) => Some((old.clone(), new.clone())),
        _ => None,
    };
    names.into_values().filter_map(pair).collect()
}

/// Where a receiver leads, if that is known of all its integrations.
fn endpoints(receiver: &Receiver) -> Option<Vec<u64>> {
    let known = |i: &IntegrationRef| Some(i.endpoint).filter(|endpoint| *endpoint != 0);
    let mut all: Vec<u64> = receiver.integrations.iter().map(known).collect::<Option<_>>()?;
    all.sort_unstable();
    (!all.is_empty()).then_some(all)
}

/// Moves the entries under a receiver's old name to its new one.
pub(crate) fn rename_key<V>(map: &mut BTreeMap<SmolStr, V>, old: &SmolStr, new: &SmolStr) {
    if let Some(value) = map.remove(old) {
        map.insert(new.clone(), value);
    }
}

/// The same, where the name of the receiver is a part of the key.
pub(crate) fn rename_part<V>(map: &mut BTreeMap<(SmolStr, SmolStr), V>, old: &SmolStr, new: &SmolStr) {
    let renamed = |receiver: SmolStr| if receiver == *old { new.clone() } else { receiver };
    let all = std::mem::take(map).into_iter();
    *map = all.map(|((receiver, other), value)| ((renamed(receiver), other), value)).collect();
}
