//! `basic_auth_users`: bcrypt, off the threads that serve, with what was found out kept for a while.

use std::collections::BTreeMap;
use std::sync::Arc;

use bcrypt::HashParts;
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// Verdicts kept of each kind.
const KEPT: u64 = 1_000;
/// Passwords tried at a time: somebody who guesses must not take every processor from the engine.
const AT_A_TIME: usize = 2;

/// Users with their hashes, and verdicts on what was tried.
pub(super) struct Passwords {
    users: BTreeMap<String, Arc<str>>,
    /// What an unknown user's password is tried against: as dear as the dearest real one.
    decoy: Arc<str>,
    right: Cache<[u8; 32], ()>,
    /// Apart from those that are right: somebody who guesses must not make those forgotten.
    wrong: Cache<[u8; 32], ()>,
    slots: Semaphore,
}

impl Passwords {
    pub(super) fn new(users: &BTreeMap<String, String>) -> Self {
        let cost = |hash: &String| hash.parse::<HashParts>().map_or(10, |parts| parts.get_cost());
        let cost = users.values().map(cost).max().unwrap_or(10);
        Passwords {
            users: users.iter().map(|(user, hash)| (user.clone(), hash.as_str().into())).collect(),
            decoy: format!("$2b${cost:02}${}", ".".repeat(53)).into(),
            right: Cache::new(KEPT),
            wrong: Cache::new(KEPT),
            slots: Semaphore::new(AT_A_TIME),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    pub(super) fn has(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// Whether `password` is that of `user`. Of an unknown user it is found out as slowly.
    pub(super) async fn verify(&self, user: &str, password: &[u8]) -> bool {
        let known = self.users.get(user);
        let hash = known.unwrap_or(&self.decoy);
        let key = key(user, password, hash);
        if self.right.contains_key(&key) {
            return true;
        }
        if self.wrong.contains_key(&key) {
            return false;
        }
        // Nobody closes it; if it were, refusing is the safe side.
        let Ok(_slot) = self.slots.acquire().await else { return false };
        let (hash, password) = (Arc::clone(hash), password.to_vec());
        let tried = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false));
        let verdict = tried.await.unwrap_or(false) && known.is_some();
        if verdict { &self.right } else { &self.wrong }.insert(key, ());
        verdict
    }
}

/// Of user, password and hash together, each with its length before it: CVE-2022-46146 was a key made of
/// parts that could be shifted against one another.
fn key(user: &str, password: &[u8], hash: &str) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [user.as_bytes(), password, hash.as_bytes()] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `fakepassword`, cost 4.
    fn passwords() -> Passwords {
        let hash = bcrypt::hash_with_salt("fakepassword", 4, [7; 16]).unwrap();
        Passwords::new(&[("alice".to_owned(), hash.to_string())].into())
    }

    #[tokio::test]
    async fn verdicts_are_right_the_first_and_the_second_time() {
        let passwords = passwords();
        for _ in 0..2 {
            assert!(passwords.verify("alice", b"fakepassword").await);
            assert!(!passwords.verify("alice", b"fakepasswore").await);
            assert!(!passwords.verify("bob", b"fakepassword").await);
            assert!(!passwords.verify("", b"").await);
        }
        let found_out = (passwords.right.iter().count(), passwords.wrong.iter().count());
        assert_eq!(found_out, (1, 3), "each is found out once");
    }

    #[test]
    fn no_two_log_ins_share_a_verdict() {
        assert_ne!(key("ab", b"c", "h"), key("a", b"bc", "h"));
        assert_ne!(key("a", b"bh", ""), key("a", b"b", "h"));
        assert_ne!(key("a", b"b", "h"), key("a", b"b", "i"), "a changed hash is asked anew");
    }

    #[tokio::test]
    async fn an_unknown_user_costs_a_hash_as_dear_as_a_known_one() {
        let passwords = passwords();
        let decoy: HashParts = passwords.decoy.parse().unwrap();
        assert_eq!(decoy.get_cost(), 4);
        assert!(bcrypt::verify("x", &passwords.decoy).is_ok(), "a hash that cannot be tried costs nothing");
    }
}
