//! The process as the kernel sees it, under the names that every Prometheus client library uses.

use std::fs;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::exposition::{Exposition, Type};

/// Key of the clock tick's rate in the auxiliary vector, `AT_CLKTCK` of `linux/auxvec.h`.
const AT_CLKTCK: usize = 17;

/// Writes the available values. It leaves out the others (no `/proc`), as client libraries do.
pub(super) fn render(out: &mut Exposition) {
    let mut gauge = |name, help, value: Option<f64>| {
        if let Some(value) = value {
            out.family(name, Type::Gauge, help);
            out.sample(&[], value);
        }
    };
    gauge("process_resident_memory_bytes", "Resident memory size.", status_bytes("VmRSS:"));
    gauge("process_virtual_memory_bytes", "Virtual memory size.", status_bytes("VmSize:"));
    gauge("process_open_fds", "Open file descriptors.", open_fds());
    let max_fds = getrlimit(Resource::Nofile).current;
    gauge("process_max_fds", "Most file descriptors that may be open.", max_fds.map(|n| n as f64));
    gauge("process_start_time_seconds", "When the process started.", start_time());

    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    out.family("process_cpu_seconds_total", Type::Counter, "CPU time spent, user and system.");
    out.sample(&[], cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
}

fn status_bytes(key: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((kib * 1024) as f64)
}

fn open_fds() -> Option<f64> {
    let all = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the one that reads the folder.
    Some(all.saturating_sub(1) as f64)
}

fn start_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let boot: f64 = fs::read_to_string("/proc/stat")
        .ok()?
        .lines()
        .find_map(|l| l.strip_prefix("btime "))
        .and_then(|seconds| seconds.trim().parse().ok())?;
    Some(boot + started_after_boot(&stat)? as f64 / clock_ticks()? as f64)
}

/// Field 22 of `/proc/self/stat`, in clock ticks. The second field, the name of the program, stands in
/// parentheses and may hold any text, so the count begins behind the last parenthesis.
fn started_after_boot(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(22 - 3)?.parse().ok()
}

fn clock_ticks() -> Option<usize> {
    const WORD: usize = size_of::<usize>();
    let auxv = fs::read("/proc/self/auxv").ok()?;
    auxv.chunks_exact(2 * WORD).find_map(|pair| {
        let (key, value) = pair.split_at(WORD);
        let key = usize::from_ne_bytes(key.try_into().ok()?);
        let value = usize::from_ne_bytes(value.try_into().ok()?);
        (key == AT_CLKTCK && value > 0).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_found_behind_any_program_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 105 0 0 0 1 2 0 0 20 0 1 0 4711 2961408 218";
        assert_eq!(started_after_boot(stat), Some(4711));
        assert_eq!(started_after_boot("7 (a"), None);
    }

    #[test]
    fn the_kernel_answers_here() {
        assert!(clock_ticks().is_some_and(|n| n >= 100));
        assert!(status_bytes("VmRSS:").is_some_and(|n| n > 1e5));
        assert!(open_fds().is_some_and(|n| n >= 3.0));
        // Well after 2020, even with a wrong clock.
        assert!(start_time().is_some_and(|t| t > 1.577e9));
    }
}
