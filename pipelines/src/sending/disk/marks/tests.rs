use std::path::Path;
use std::sync::Arc;

use runtime::{Disk, SimulatedDisk};

use super::{Done, Marks, read};

#[test]
fn marks_come_back_and_a_cut_file_forgets_only_the_last_ones() {
    let disk = SimulatedDisk::new(0);
    let dir = Path::new("/queue");
    disk.create_dir_all(dir).expect("no fault");
    let (mut marks, done) = Marks::open(Arc::new(disk.clone()), dir).expect("no file yet");
    assert_eq!(done, Done::default());
    marks.rewrite(&Done { below: 7, above: [9].into() }).expect("no fault");
    marks.add(&[12, 8]).expect("no fault");
    let (_, done) = Marks::open(Arc::new(disk.clone()), dir).expect("no fault");
    assert_eq!(done, Done { below: 7, above: [8, 9, 12].into() });
    assert_eq!([6, 7, 8, 10].map(|sequence| done.contains(sequence)), [true, false, true, false]);

    let bytes = disk.read(&dir.join("delivered")).expect("there");
    for len in 0..=bytes.len() {
        let done = read(&bytes[..len]).expect("never an error");
        let numbers = usize::from(done.below > 0) + done.above.len();
        // A head of 8 bytes, then 12 for each number.
        assert_eq!(numbers, len.saturating_sub(8) / 12, "{len} bytes");
    }
    let mut damaged = bytes.clone();
    damaged[8 + 12] ^= 1;
    assert_eq!(read(&damaged).expect("no error"), Done { below: 7, above: [].into() });
    let mut newer = bytes;
    newer[4] = 2;
    assert!(read(&newer).is_err());
}
