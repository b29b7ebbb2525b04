//! Receivers and integrations that a new configuration gives other names.
//!
//! An incident is open at an endpoint: a URL, with the credential that the request carries. The integration
//! that leads there closes it, under whatever name the configuration has.

use std::collections::BTreeMap;

use smol_str::SmolStr;

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
