//! Work that may hang, each piece on a thread of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Pieces of work that may be under way at once, of all keys of one [`UnderWay`].
pub const MOST: usize = 1_000;
/// A second piece of work for a key begins when the first has hung for this long. A third begins when the
/// second has hung for twice as long, and so on. The first may hang on something that has been replaced
/// since, such as a file system that was mounted anew.
const HANGS: Duration = Duration::from_secs(10);
/// Enough for the system's resolver, whose plugins are the deepest callers here.
const STACK: usize = 512 << 10;

/// The work under way, by key. It has no clock and no threads, so the simulator steps it too.
#[derive(Debug)]
pub struct UnderWay<K, H> {
    by_key: BTreeMap<K, Vec<Piece<H>>>,
    all: usize,
}

#[derive(Debug)]
struct Piece<H> {
    began: Instant,
    handle: H,
}

/// How a caller gets the result for a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Begin<H> {
    /// By waiting for the work that is under way since this moment.
    Join(Instant, H),
    /// By starting a new piece of work.
    Start,
    /// Not now: [`MOST`] pieces of work hang.
    Full,
}

impl<K, H> Default for UnderWay<K, H> {
    fn default() -> Self {
        UnderWay { by_key: BTreeMap::new(), all: 0 }
    }
}

impl<K: Ord + Clone, H: Clone + PartialEq> UnderWay<K, H> {
    /// The action of a caller that asks for `key` at `now`.
    pub fn ask(&self, key: &K, now: Instant) -> Begin<H> {
        let pieces = self.by_key.get(key).map_or(&[][..], Vec::as_slice);
        let Some(newest) = pieces.last() else {
            return if self.all < MOST { Begin::Start } else { Begin::Full };
        };
        let doublings = u32::try_from(pieces.len() - 1).unwrap_or(u32::MAX).min(20);
        let hangs = now.saturating_duration_since(newest.began) >= HANGS * 2u32.pow(doublings);
        match hangs && self.all < MOST {
            true => Begin::Start,
            false => Begin::Join(newest.began, newest.handle.clone()),
        }
    }

    /// Work for `key` began at `now`.
    pub fn began(&mut self, key: &K, now: Instant, handle: H) {
        self.by_key.entry(key.clone()).or_default().push(Piece { began: now, handle });
        self.all += 1;
    }

    /// That work has ended.
    pub fn ended(&mut self, key: &K, handle: &H) {
        let Some(pieces) = self.by_key.get_mut(key) else { return };
        let before = pieces.len();
        pieces.retain(|piece| piece.handle != *handle);
        self.all -= before - pieces.len();
        if pieces.is_empty() {
            self.by_key.remove(key);
        }
    }

    /// How many pieces of work are under way for `key`.
    pub fn of(&self, key: &K) -> usize {
        self.by_key.get(key).map_or(0, Vec::len)
    }
}

/// Why work gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broke {
    /// The work panicked.
    #[error("it broke off, which is a bug")]
    Panicked,
    /// The system has no thread for it.
    #[error("the system has no thread for it")]
    NoThread,
    /// See [`MOST`].
    #[error("{MOST} others hang already")]
    Full,
    /// It takes longer than the caller waits.
    #[error("it has not ended after {} s", .0.as_secs())]
    Hangs(Duration),
}

/// Runs work that may hang. Callers that ask for the same key at the same time share one piece of work, so
/// that any number of them costs few threads. A caller that no longer waits leaves nothing behind but these.
pub struct Apart<K, T> {
    thread: &'static str,
    under_way: LazyLock<Table<K, T>>,
}

type Table<K, T> = Arc<Mutex<UnderWay<K, Handle<T>>>>;

/// Where a piece of work leaves its result.
struct Slot<T> {
    result: Mutex<Option<Result<T, Broke>>>,
    blocking: Condvar,
    waiting: Notify,
}

struct Handle<T>(Arc<Slot<T>>);

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Handle(Arc::clone(&self.0))
    }
}

impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<K, T> Apart<K, T>
where
    K: Ord + Clone + Send + 'static,
    T: Clone + Send + 'static,
{
    /// Work on threads of this name.
    pub const fn new(thread: &'static str) -> Self {
        Apart { thread, under_way: LazyLock::new(Arc::default) }
    }

    /// The result for `key`. A caller that has no time to wait drops this future.
    ///
    /// # Errors
    /// There is no result, and not for want of time.
    pub async fn ask(&self, key: &K, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Broke> {
        let (_, Handle(slot)) = self.begin(key, work)?;
        loop {
            let changed = slot.waiting.notified();
            if let Some(result) = locked(&slot.result).clone() {
                return result;
            }
            changed.await;
        }
    }

    /// The result for `key`, if it is there within `patience` of the beginning of the work. Blocks the
    /// thread.
    ///
    /// # Errors
    /// There is no result by then.
    pub fn wait(
        &self,
        key: &K,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Broke> {
        let (began, Handle(slot)) = self.begin(key, work)?;
        let mut result = locked(&slot.result);
        loop {
            if let Some(result) = result.clone() {
                return result;
            }
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(Broke::Hangs(began.elapsed()));
            }
            (result, _) = slot.blocking.wait_timeout(result, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn begin(
        &self,
        key: &K,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(Instant, Handle<T>), Broke> {
        let now = Instant::now();
        let mut under_way = locked(&self.under_way);
        match under_way.ask(key, now) {
            Begin::Join(began, handle) => return Ok((began, handle)),
            Begin::Full => return Err(Broke::Full),
            Begin::Start => {}
        }
        let slot = Slot { result: Mutex::new(None), blocking: Condvar::new(), waiting: Notify::new() };
        let handle = Handle(Arc::new(slot));
        under_way.began(key, now, handle.clone());
        drop(under_way);
        let ending = Ending {
            table: Arc::clone(&self.under_way),
            key: key.clone(),
            handle: handle.clone(),
            result: Err(Broke::NoThread),
        };
        let thread = std::thread::Builder::new().name(self.thread.into()).stack_size(STACK);
        // Without a thread, the closure is dropped, and the work has ended.
        drop(thread.spawn(move || ending.run(work)));
        Ok((now, handle))
    }
}

/// Removes the work from the table and fills the slot, however the work ends.
struct Ending<K: Ord + Clone, T> {
    table: Table<K, T>,
    key: K,
    handle: Handle<T>,
    result: Result<T, Broke>,
}

impl<K: Ord + Clone, T> Ending<K, T> {
    fn run(mut self, work: impl FnOnce() -> T) {
        self.result = Err(Broke::Panicked);
        self.result = Ok(work());
    }
}

impl<K: Ord + Clone, T> Drop for Ending<K, T> {
    fn drop(&mut self) {
        locked(&self.table).ended(&self.key, &self.handle);
        let Slot { result, blocking, waiting } = &*self.handle.0;
        *locked(result) = Some(std::mem::replace(&mut self.result, Err(Broke::Panicked)));
        blocking.notify_all();
        waiting.notify_waiters();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_key_that_hangs_for_days_costs_few_pieces_of_work() {
        let (mut table, start) = (UnderWay::default(), Instant::now());
        let mut begun = Vec::new();
        // A caller each second for ten days.
        for second in 0..864_000 {
            let now = start + Duration::from_secs(second);
            if table.ask(&"key", now) == Begin::Start {
                table.began(&"key", now, second);
                begun.push(second);
            }
        }
        assert_eq!(begun[..5], [0, 10, 30, 70, 150]);
        assert_eq!((begun.len(), table.of(&"key")), (17, 17));
        table.ended(&"key", &0);
        assert_eq!(table.of(&"key"), 16);
    }

    #[test]
    fn what_hangs_at_all_keys_has_a_bound_and_does_not_shut_out_what_is_under_way() {
        let (mut table, now) = (UnderWay::default(), Instant::now());
        for key in 0..MOST {
            assert_eq!(table.ask(&key, now), Begin::Start);
            table.began(&key, now, key);
        }
        assert_eq!(table.ask(&MOST, now), Begin::Full);
        assert_eq!(table.ask(&7, now + HANGS * 2), Begin::Join(now, 7));
        table.ended(&7, &7);
        assert_eq!(table.ask(&MOST, now), Begin::Start);
    }

    #[tokio::test]
    async fn callers_at_the_same_time_share_one_piece_of_work() {
        static SHARED: Apart<&str, u32> = Apart::new("shared");
        let (go, wait) = mpsc::channel::<()>();
        let first = tokio::spawn(SHARED.ask(&"key", move || {
            let _ = wait.recv();
            1
        }));
        // The task runs up to the wait, on this same thread.
        tokio::task::yield_now().await;
        let second = tokio::spawn(SHARED.ask(&"key", || 2));
        tokio::task::yield_now().await;
        assert_eq!(SHARED.wait(&"other", HANGS, || 3), Ok(3));
        drop(go);
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(1), Ok(1)));
        assert_eq!(SHARED.ask(&"key", || 4).await, Ok(4), "work that has ended is not remembered");
    }

    #[tokio::test]
    async fn work_that_panics_tells_those_who_wait_and_is_forgotten() {
        static PANICS: Apart<u8, u32> = Apart::new("panics");
        assert_eq!(PANICS.ask(&0, || panic!("on purpose")).await, Err(Broke::Panicked));
        assert_eq!(PANICS.wait(&0, HANGS, || 1), Ok(1));
    }

    #[test]
    fn a_blocking_caller_waits_as_long_as_it_says() {
        static HANGING: Apart<u8, ()> = Apart::new("hanging");
        let (go, wait) = mpsc::channel::<()>();
        let hangs = HANGING.wait(&0, Duration::from_millis(1), move || wait.recv().unwrap_or_default());
        assert!(matches!(hangs, Err(Broke::Hangs(_))), "{hangs:?}");
        drop(go);
    }
}
