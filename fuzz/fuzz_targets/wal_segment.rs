//! Segments of a write-ahead log: whatever is in them the log opens, and a second start sees the same records. Only a
//! record with a right checksum and flags of another version refuses the start, each time.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use runtime::{Disk, SimulatedDisk, Tasks};
use wal::{Wal, WalSettings};

fuzz_target!(|data: &[u8]| {
    let disk = SimulatedDisk::new(0);
    let dir = Path::new("/wal");
    disk.create_dir_all(dir).expect("made");
    // The input is several segments, with 0xfe between them.
    for (number, segment) in data.split(|byte| *byte == 0xfe).take(3).enumerate() {
        disk.create(&dir.join(format!("{number:08}.wal"))).expect("made").append(segment).expect("appends");
    }
    let open = || {
        let mut records = Vec::new();
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let opened = Wal::open(disk, dir.into(), WalSettings::default(), &Tasks::new(), |record| {
            records.push((record.sequence, record.bytes.to_vec()));
        });
        match opened {
            Ok(_) => Some(records),
            Err(error) => {
                assert!(error.to_string().contains("unknown flags"), "a log opens whatever is in it: {error}");
                None
            }
        }
    };
    let first = open();
    assert!(first.iter().all(|records| records.is_sorted_by(|a, b| a.0 < b.0)));
    assert_eq!(open(), first);
});
