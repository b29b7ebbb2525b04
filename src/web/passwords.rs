//! `basic_auth_users`: bcrypt, off the threads that serve, with a cache of the results.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bcrypt::HashParts;
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// Verdicts kept of each kind.
const KEPT: u64 = 1_000;
/// Passwords tried at a time: an attacker who guesses must not take every processor from the engine.
const AT_A_TIME: usize = 2;
/// Passwords that are tried or wait for it. More would wait for longer than a sender of alerts does.
const WAITING: usize = 32;
/// The same from one address, so that one that guesses leaves room for others.
const WAITING_FROM_ONE: usize = 8;

/// How long a password waits at most until it is tried.
const PATIENCE: Duration = Duration::from_secs(5);

/// Users with their hashes, and verdicts on tried passwords.
pub(super) struct Passwords {
    users: BTreeMap<String, Arc<str>>,
    /// The hash for an unknown user's password. It costs as much as the most expensive real one.
    decoy: Arc<str>,
    right: Cache<[u8; 32], ()>,
    /// Apart from the right ones: an attacker who guesses must not push those out.
    wrong: Cache<[u8; 32], ()>,
    slots: Arc<Semaphore>,
    waiting: Arc<Waiting>,
}

/// The result for a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tried {
    Right,
    Wrong,
    /// Too many others are being tried.
    Busy,
}

/// How many passwords wait, by the address of their sender.
#[derive(Default)]
struct Waiting(Mutex<BTreeMap<IpAddr, usize>>);

/// A place among those that wait. A drop gives it up.
struct Place {
    waiting: Arc<Waiting>,
    from: IpAddr,
}

impl Waiting {
    fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let from = network(peer);
        let mut all = self.lock();
        let own = all.get(&from).copied().unwrap_or(0);
        if own >= WAITING_FROM_ONE || all.values().sum::<usize>() >= WAITING {
            return None;
        }
        all.insert(from, own + 1);
        Some(Place { waiting: Arc::clone(self), from })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.waiting.lock();
        match all.get_mut(&self.from) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(all.remove(&self.from)),
        }
    }
}

/// The part of an address that stands for one client: of IPv6, the 64 bits that a network has.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => IpAddr::from((u128::from(address) >> 64 << 64).to_be_bytes()),
    }
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
            slots: Arc::new(Semaphore::new(AT_A_TIME)),
            waiting: Arc::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    pub(super) fn has(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// Whether `password` is that of `user`. Of an unknown user it is found out as slowly. `waits` is called
    /// when that takes time.
    pub(super) async fn verify(
        &self,
        user: &str,
        password: &[u8],
        peer: IpAddr,
        waits: impl FnOnce(),
    ) -> Tried {
        let known = self.users.get(user);
        let hash = known.unwrap_or(&self.decoy);
        let key = key(user, password, hash);
        if self.right.contains_key(&key) {
            return Tried::Right;
        }
        if self.wrong.contains_key(&key) {
            return Tried::Wrong;
        }
        waits();
        let Some(place) = self.waiting.enter(peer) else { return Tried::Busy };
        let slot = tokio::time::timeout(PATIENCE, Arc::clone(&self.slots).acquire_owned()).await;
        // Squelch never closes the semaphore. If it were closed, refusing would be the safe side.
        let Ok(Ok(slot)) = slot else { return Tried::Busy };
        let (hash, password) = (Arc::clone(hash), password.to_vec());
        let tried = tokio::task::spawn_blocking(move || {
            let right = bcrypt::verify(password, &hash).unwrap_or(false);
            // A client that went away meanwhile does not make room for another that is tried beside it.
            drop((slot, place));
            right
        });
        match tried.await.unwrap_or(false) && known.is_some() {
            true => {
                self.right.insert(key, ());
                Tried::Right
            }
            false => {
                self.wrong.insert(key, ());
                Tried::Wrong
            }
        }
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

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn verdicts_are_right_the_first_and_the_second_time() {
        let passwords = passwords();
        let verify = async |user: &str, password: &[u8]| passwords.verify(user, password, PEER, || ()).await;
        for _ in 0..2 {
            assert_eq!(verify("alice", b"fakepassword").await, Tried::Right);
            assert_eq!(verify("alice", b"fakepasswore").await, Tried::Wrong);
            assert_eq!(verify("bob", b"fakepassword").await, Tried::Wrong);
            assert_eq!(verify("", b"").await, Tried::Wrong);
        }
        let found_out = (passwords.right.iter().count(), passwords.wrong.iter().count());
        assert_eq!(found_out, (1, 3), "each is found out once");
    }

    #[tokio::test]
    async fn logins_that_wait_are_bounded_for_each_address_and_in_all() {
        let passwords = passwords();
        assert_eq!(passwords.verify("alice", b"fakepassword", PEER, || ()).await, Tried::Right);
        let places = |from: &str, n: usize| -> Vec<Place> {
            (0..n).filter_map(|_| passwords.waiting.enter(from.parse().unwrap())).collect()
        };
        let mut held = places("127.0.0.1", 100);
        assert_eq!(held.len(), WAITING_FROM_ONE);
        assert_eq!(passwords.verify("alice", b"guess", PEER, || ()).await, Tried::Busy);
        let known = passwords.verify("alice", b"fakepassword", PEER, || ()).await;
        assert_eq!(known, Tried::Right, "a password that is known to be right waits for nothing");
        let other = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(passwords.verify("alice", b"guess", other, || ()).await, Tried::Wrong, "there is room");

        held.extend(places("2001:db8::1", 5));
        held.extend(places("2001:db8::2:0:0:2", 5));
        assert_eq!(held.len(), 2 * WAITING_FROM_ONE, "a network of IPv6 is one client");
        held.extend((0..9).flat_map(|n| places(&format!("192.0.2.{n}"), 5)));
        assert_eq!(held.len(), WAITING);
        assert_eq!(passwords.verify("alice", b"another", other, || ()).await, Tried::Busy);
        drop(held);
        assert!(passwords.waiting.lock().is_empty());
        assert_eq!(passwords.verify("alice", b"another", other, || ()).await, Tried::Wrong);
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
