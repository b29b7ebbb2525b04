//! Faults of disk and clock that a test sets while the program runs. See `shim.c`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::e2e::child::Child;
use crate::e2e::squelch::{Home, Squelch};
use crate::tools;

const EIO: i64 = 5;
const ENOSPC: i64 = 28;

/// The fields of the shim's `struct faults`, in its order.
#[derive(Clone, Copy)]
enum Field {
    WallOffset,
    SyncErrno,
    WriteErrno,
    SyncDelay,
    Met,
    ClockPatched,
    Lookups,
}

static LIBRARY: LazyLock<Option<(tempfile::TempDir, PathBuf)>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/e2e/faults/shim.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).output();
    match built {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some((folder, library))
        }
        Err(error) => {
            tools::missing("cc", &error);
            None
        }
    }
});

/// The faults of one home.
pub struct Shim {
    library: &'static Path,
    control: PathBuf,
    file: File,
}

impl Shim {
    /// No fault yet. `None` where there is no C compiler.
    pub fn new(home: &Home) -> Option<Shim> {
        let (_, library) = LIBRARY.as_ref()?;
        let control = home.path("faults");
        std::fs::write(&control, [0; 64]).unwrap();
        let file = File::options().read(true).write(true).open(&control).unwrap();
        Some(Shim { library, control, file })
    }

    /// Starts the program of `home` under these faults.
    pub fn launch(&self, home: &Home) -> Child {
        let data = home.path("data");
        let more = [
            ("LD_PRELOAD", self.library),
            ("SQUELCH_FAULTS", self.control.as_path()),
            ("SQUELCH_FAULTS_PATH", data.as_path()),
        ];
        home.launch_with("127.0.0.1:0".parse().unwrap(), &more)
    }

    /// [`Shim::launch`], and waits until it is ready.
    pub async fn serve(&self, home: &Home) -> Squelch {
        Home::ready(self.launch(home)).await
    }

    /// Every fsync of the storage fails with an input/output error.
    pub fn syncs_fail(&self, fail: bool) {
        self.set(Field::SyncErrno, if fail { EIO } else { 0 });
    }

    /// Every write to the storage finds no space.
    pub fn writes_find_no_space(&self, fail: bool) {
        self.set(Field::WriteErrno, if fail { ENOSPC } else { 0 });
    }

    /// Every write to the storage fails with an input/output error.
    pub fn writes_fail(&self, fail: bool) {
        self.set(Field::WriteErrno, if fail { EIO } else { 0 });
    }

    /// Every fsync of the storage takes this much longer.
    pub fn syncs_take(&self, millis: i64) {
        self.set(Field::SyncDelay, millis);
    }

    /// The wall clock is off by so many seconds. The boot-time clock does not change.
    pub fn wall_is_off_by(&self, seconds: i64) {
        self.set(Field::WallOffset, seconds);
    }

    /// How often a fault of the disk was met.
    pub fn met(&self) -> i64 {
        self.get(Field::Met)
    }

    /// Whether the program's wall clock can be set, on x86-64 only.
    pub fn has_the_clock(&self) -> bool {
        self.get(Field::ClockPatched) == 1
    }

    /// How many lookups of names below `hangs` wait for an answer. None of them gets one.
    pub fn lookups(&self) -> i64 {
        self.get(Field::Lookups)
    }

    fn set(&self, field: Field, value: i64) {
        self.file.write_all_at(&value.to_ne_bytes(), field as u64 * 8).unwrap();
    }

    fn get(&self, field: Field) -> i64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, field as u64 * 8).unwrap();
        i64::from_ne_bytes(bytes)
    }
}
