//! Signals to the process, its state for systemd, and its end. A thread of its own handles the signals, and
//! nothing else can hold that thread up.

use std::io;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::outside::LOG;

/// The process ends at the latest one second after this time since the first signal.
const HARD_EXIT: Duration = Duration::from_secs(24);
/// How long the last lines of the log may take.
const LAST_LINES: Duration = Duration::from_millis(200);
/// How long the exit handlers of the C library may take.
const LAST_WORK: Duration = Duration::from_millis(500);

/// The signals that the process got.
pub(super) struct Signals {
    /// The signal that ends the process, once it came.
    pub(super) end: watch::Receiver<Option<&'static str>>,
    /// How many times SIGHUP came.
    pub(super) reloads: watch::Receiver<u64>,
}

/// Listens to signals from now on, on a thread of its own. After the first SIGTERM or SIGINT that thread
/// ends the process if its orderly end hangs, as on a disk that never answers. The next start goes on from
/// durable data. A second signal ends the process at once.
///
/// # Errors
/// The system refuses the thread or a handler.
pub(super) fn listen() -> io::Result<Signals> {
    let (end, ended) = watch::channel(None);
    let (reload, reloads) = watch::channel(0);
    let (ready, started) = std::sync::mpsc::channel();
    let run = move || {
        // A runtime of its own: the one that serves may be the one that hangs.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(watch_signals(&end, &reload, &ready)),
            Err(error) => drop(ready.send(Err(error))),
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(run)?;
    started.recv().unwrap_or_else(|_| Err(io::Error::other("its thread ended")))?;
    Ok(Signals { end: ended, reloads })
}

async fn watch_signals(
    end: &watch::Sender<Option<&'static str>>,
    reload: &watch::Sender<u64>,
    ready: &std::sync::mpsc::Sender<io::Result<()>>,
) {
    let handlers = || {
        Ok((
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ))
    };
    let (mut term, mut int, mut hangup) = match handlers() {
        Ok(handlers) => handlers,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let _ = ready.send(Ok(()));
    let told = loop {
        tokio::select! {
            _ = term.recv() => break "SIGTERM",
            _ = int.recv() => break "SIGINT",
            _ = hangup.recv() => reload.send_modify(|times| *times += 1),
        }
    };
    end.send_replace(Some(told));
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        () = tokio::time::sleep(HARD_EXIT) => tracing::error!("the orderly end hangs: ending at once"),
    }
    end_now();
}

/// Tells systemd the state of the process, if systemd waits for that (`Type=notify`). Without systemd it does
/// nothing.
pub(super) fn tell(state: &'static [NotifyState<'static>]) {
    // Nothing waits for it: the socket of a service manager that hangs takes no more messages.
    tokio::task::spawn_blocking(|| {
        if let Err(error) = sd_notify::notify(state) {
            tracing::warn!(%error, "cannot send the state of the process to systemd");
        }
    });
}

/// Ends the process with status 1, even if other threads hang.
fn end_now() -> ! {
    LOG.flush(LAST_LINES);
    let kill = || {
        // reason: exit handlers may wait for a lock that a hanging thread has.
        std::thread::sleep(LAST_WORK);
        let _ = kill_process(getpid(), Signal::KILL);
    };
    let _ = std::thread::Builder::new().name("last-resort".into()).spawn(kill);
    std::process::exit(1)
}
