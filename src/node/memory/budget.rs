//! The limits of the control groups and of the machine.

use std::fs;
use std::path::{Component, Path, PathBuf};

use smol_str::{SmolStr, format_smolstr};

/// The memory that the program needs beside its alerts: itself, waiting requests, bodies that are read.
const FIXED: u64 = 64 << 20;
/// The memory that an alert needs, with some to spare. `docs/performance.md` measures 978 bytes at a million
/// alerts, and more for each alert where there are fewer.
const PER_ALERT: u64 = 2 << 10;
/// The least that `limits.alerts` may be.
const LEAST: u64 = 100;
/// From here on a group has no limit: version 1 says so by the largest number of whole pages.
const HUGE: u64 = 1 << 60;

/// How much memory there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// In bytes.
    pub bytes: u64,
    /// The source of the number: a file, or a key of the configuration.
    pub from: SmolStr,
}

/// A hierarchy of control groups that bounds memory.
#[derive(Debug, Clone, Copy)]
struct Hierarchy {
    /// The kind of its file system.
    kind: &'static str,
    /// Its controller, for version 1.
    controller: Option<&'static str>,
    /// The file that holds the limit.
    limit: &'static str,
}

const HIERARCHIES: [Hierarchy; 2] = [
    Hierarchy { kind: "cgroup2", controller: None, limit: "memory.max" },
    Hierarchy { kind: "cgroup", controller: Some("memory"), limit: "memory.limit_in_bytes" },
];

/// The part of the budget that outside data may hold at once, in bytes. Each kind gets a share, within
/// bounds. `docs/performance.md` has the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Bodies larger than 64 KiB.
    pub bodies: u64,
    /// Smaller ones.
    pub small_bodies: u64,
    /// Answers that clients have not read.
    pub answers: u64,
    /// Silences, with their compiled expressions.
    pub silences: u64,
}

impl Shares {
    /// The shares of a budget in bytes. An unknown budget gives the largest shares.
    pub fn of(budget: Option<u64>) -> Shares {
        let budget = budget.unwrap_or(u64::MAX);
        let part = |of: u64, least: u64, most: u64| (budget / of).clamp(least << 20, most << 20);
        Shares {
            // One body of 32 MiB always has room.
            bodies: part(8, 32, 256),
            small_bodies: part(64, 2, 32),
            answers: part(16, 8, 64),
            silences: part(64, 1, 16),
        }
    }
}

impl Budget {
    /// The smallest of three: the limits of this process's groups, the machine's memory, and `configured`.
    /// `None` if none of them is known.
    pub fn find(configured: Option<u64>) -> Option<Budget> {
        Self::find_below(Path::new("/"), configured)
    }

    /// [`Self::find`], with the system's files below `root`.
    fn find_below(root: &Path, configured: Option<u64>) -> Option<Budget> {
        let configured = configured.map(|bytes| Budget { bytes, from: "limits.memory".into() });
        let groups = HIERARCHIES.into_iter().flat_map(|h| groups(root, h));
        configured.into_iter().chain(machine(root)).chain(groups).min_by_key(|budget| budget.bytes)
    }

    /// The number of alerts that fit into the rest of three quarters of the budget. The last quarter is for
    /// alerts that are larger than usual, and for copies, such as a snapshot.
    pub fn alerts(&self) -> u64 {
        ((self.bytes / 4 * 3).saturating_sub(FIXED) / PER_ALERT).max(LEAST)
    }
}

/// `MemTotal`.
fn machine(root: &Path) -> Option<Budget> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(Budget { bytes: kib.saturating_mul(1024), from: "MemTotal of /proc/meminfo".into() })
}

/// The limits of the group of this process and of all above it that can be seen.
fn groups(root: &Path, hierarchy: Hierarchy) -> Vec<Budget> {
    let Some((mount, group)) = mounted(root, hierarchy).zip(own_group(root, hierarchy)) else {
        return Vec::new();
    };
    // In a container the mount shows a part of the hierarchy, whose path may count from above of it.
    let within = group.strip_prefix(&mount.part).ok().filter(|path| {
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        inside && below(root, &mount.point).join(path).exists()
    });
    let folders = within.unwrap_or(Path::new("")).ancestors().map(|path| mount.point.join(path));
    let limit = |folder: PathBuf| {
        let path = folder.join(hierarchy.limit);
        let text = fs::read_to_string(below(root, &path)).ok()?;
        let bytes = text.trim().parse().ok().filter(|bytes| (1..HUGE).contains(bytes))?;
        Some(Budget { bytes, from: format_smolstr!("{}", path.display()) })
    };
    folders.filter_map(limit).collect()
}

struct Mount {
    /// The group that stands at the mount point.
    part: PathBuf,
    point: PathBuf,
}

/// The mount point of the hierarchy, from `/proc/self/mountinfo` (see proc(5)). The fourth field is the
/// part of it, the fifth the mount point. Behind a lone dash stand the kind and, third, the controllers.
fn mounted(root: &Path, hierarchy: Hierarchy) -> Option<Mount> {
    let text = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    text.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        let (kind, options) = (system.next()?, system.nth(1).unwrap_or_default());
        let controls = hierarchy.controller.is_none_or(|c| options.split(',').any(|option| option == c));
        let mut fields = mount.split(' ').skip(3);
        let (part, point) = (fields.next()?, fields.next()?);
        (kind == hierarchy.kind && controls).then(|| Mount { part: part.into(), point: point.into() })
    })
}

/// The group of this process, from `/proc/self/cgroup`: `0::/path`, or `4:memory:/path`.
fn own_group(root: &Path, hierarchy: Hierarchy) -> Option<PathBuf> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let its = match hierarchy.controller {
            Some(controller) => controllers.split(',').any(|c| c == controller),
            None => controllers.is_empty(),
        };
        its.then(|| path.into())
    })
}

/// An absolute path of the system, below `root`.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A system of these files.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn found(files: &[(&str, &str)], configured: Option<u64>) -> Option<(u64, String)> {
        let budget = Budget::find_below(system(files).path(), configured);
        budget.map(|b| (b.bytes / MIB, b.from.to_string()))
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree:  1 kB\n");
    const V2: (&str, &str) = (
        "proc/self/mountinfo",
        "24 1 0:22 / /proc rw - proc proc rw\n31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n",
    );

    #[test]
    fn the_least_along_the_path_up_to_the_mount_counts() {
        let group = ("proc/self/cgroup", "0::/a.slice/b.service\n");
        let own = ("sys/fs/cgroup/a.slice/b.service/memory.max", "max\n");
        let above = ("sys/fs/cgroup/a.slice/memory.max", "536870912\n");
        let named = |path: &str| format!("/sys/fs/cgroup/{path}memory.max");
        assert_eq!(found(&[MEMINFO, V2, group, own, above], None), Some((512, named("a.slice/"))));
        let own = ("sys/fs/cgroup/a.slice/b.service/memory.max", "268435456\n");
        assert_eq!(found(&[MEMINFO, V2, group, own, above], None), Some((256, named("a.slice/b.service/"))));
        let top = ("sys/fs/cgroup/memory.max", "134217728\n");
        assert_eq!(found(&[MEMINFO, V2, group, own, above, top], None), Some((128, named(""))));
    }

    #[test]
    fn a_container_sees_its_own_group_at_the_mount_whatever_its_path_is_called() {
        let limit = ("sys/fs/cgroup/memory.max", "134217728");
        for path in ["0::/\n", "0::/docker/0123\n", "0::/../../other\n"] {
            let files = [MEMINFO, V2, ("proc/self/cgroup", path), limit];
            assert_eq!(found(&files, None), Some((128, "/sys/fs/cgroup/memory.max".to_owned())), "{path}");
        }
    }

    #[test]
    fn version_1_counts_too_and_its_huge_number_is_none() {
        let mount = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                     35 31 0:32 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let group = ("proc/self/cgroup", "4:memory:/docker/1/x\n1:cpu:/\n0::/\n");
        let own = ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n");
        let machine = (8192, "MemTotal of /proc/meminfo".to_owned());
        let mount = ("proc/self/mountinfo", mount);
        assert_eq!(found(&[MEMINFO, mount, group, own], None), Some(machine.clone()));
        let above = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
        let from = "/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned();
        assert_eq!(found(&[MEMINFO, mount, group, own, above], None), Some((1024, from)));
        let nonsense = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "much\n");
        assert_eq!(found(&[MEMINFO, mount, group, own, nonsense], None), Some(machine));
    }

    #[test]
    fn what_is_configured_may_only_lower_it() {
        let configured = "limits.memory".to_owned();
        assert_eq!(found(&[MEMINFO], Some(512 * MIB)), Some((512, configured.clone())));
        assert_eq!(found(&[MEMINFO], Some(9000 * MIB)).unwrap().0, 8192);
        assert_eq!(found(&[], Some(9000 * MIB)), Some((9000, configured)));
        assert_eq!(found(&[], None), None);
    }

    #[test]
    fn shares_are_parts_of_the_budget_within_bounds() {
        let shares = |mib: u64| {
            let Shares { bodies, small_bodies, answers, silences } = Shares::of(Some(mib * MIB));
            [bodies, small_bodies, answers, silences].map(|bytes| bytes / MIB)
        };
        assert_eq!(shares(64), [32, 2, 8, 1]);
        assert_eq!(shares(512), [64, 8, 32, 8]);
        assert_eq!(shares(1 << 20), [256, 32, 64, 16]);
        assert_eq!(Shares::of(None), Shares::of(Some(u64::MAX)));
    }

    #[test]
    fn so_many_alerts_fit() {
        let alerts = |mib: u64| Budget { bytes: mib * MIB, from: "".into() }.alerts();
        assert_eq!([alerts(1), alerts(64), alerts(128), alerts(512)], [100, 100, 16_384, 163_840]);
        assert!((1_000_000..1_050_000).contains(&alerts(2700)), "{}", alerts(2700));
    }
}
