//! The contract of `Disk`, the same for the real and the simulated one, and what a power loss may take.

use std::io::ErrorKind;
use std::path::Path;

use super::{Disk, DiskFault, LocalDisk, SimulatedDisk};

fn check_contract(disk: &dyn Disk, root: &Path) {
    let dir = root.join("a/b");
    disk.create_dir_all(&dir).expect("folders are made");
    disk.create_dir_all(&dir).expect("again is fine");
    let path = dir.join("one");
    let mut file = disk.create(&path).expect("a new file");
    file.append(b"hello ").expect("appends");
    file.append(b"world").expect("appends");
    file.sync_data().expect("syncs");
    assert_eq!(disk.create(&path).err().map(|e| e.kind()), Some(ErrorKind::AlreadyExists));
    assert_eq!(disk.read(&path).expect("reads"), b"hello world");
    let mut part = [0; 5];
    disk.open_read(&path).expect("opens").read_exact_at(6, &mut part).expect("reads at an offset");
    assert_eq!(&part, b"world");
    let past_the_end = disk.open_read(&path).expect("opens").read_exact_at(7, &mut part);
    assert_eq!(past_the_end.expect_err("5 bytes at 7 of 11").kind(), ErrorKind::UnexpectedEof);
    disk.truncate(&path, 5).expect("cuts");
    disk.open_append(&path).expect("opens").append(b"!").expect("appends");
    assert_eq!(disk.read(&path).expect("reads"), b"hello!");
    disk.rename(&path, &dir.join("two")).expect("renames");
    disk.write_atomically(&dir.join("two"), b"new").expect("replaces");
    disk.sync_dir(&dir).expect("syncs the folder");
    let entries = disk.list(root.join("a").as_path()).expect("lists");
    assert!(entries.len() == 1 && entries[0].name == "b" && entries[0].is_dir);
    let entries = disk.list(&dir).expect("lists");
    assert!(entries.len() == 1 && entries[0].name == "two" && entries[0].bytes == 3);
    assert!(disk.exists(&dir) && !disk.exists(&path));
    assert_eq!(disk.read(&path).expect_err("renamed away").kind(), ErrorKind::NotFound);
    assert!(disk.free_bytes(&dir).expect("a number") > 0);
    disk.remove_file(&dir.join("two")).expect("removes");
    disk.remove_dir_all(&root.join("a")).expect("removes");
    assert!(!disk.exists(&dir));
}

#[test]
fn the_local_disk_keeps_the_contract() {
    let root = tempfile::tempdir().expect("a folder");
    check_contract(&LocalDisk, root.path());
}

#[test]
fn the_simulated_disk_keeps_the_contract() {
    check_contract(&SimulatedDisk::new(1), Path::new("/data"));
}

#[test]
fn a_power_loss_keeps_what_was_synced_and_may_lose_the_rest() {
    let (mut lost_names, mut lost_bytes) = (0, 0);
    for seed in 0..200 {
        let disk = SimulatedDisk::new(seed);
        let dir = Path::new("/data");
        disk.create_dir_all(dir).expect("made");
        let mut synced = disk.create(&dir.join("synced")).expect("made");
        synced.append(b"kept").expect("appends");
        synced.sync_data().expect("syncs");
        disk.sync_dir(dir).expect("syncs");
        synced.append(b"maybe").expect("appends");
        disk.create(&dir.join("unsynced")).expect("made").append(b"maybe").expect("appends");
        disk.power_loss();
        assert!(synced.append(b"x").is_err(), "a handle from before the power loss is dead");
        let bytes = disk.read(&dir.join("synced")).expect("a synced name survives");
        assert_eq!(&bytes[..4], b"kept");
        lost_bytes += usize::from(bytes.len() < 9);
        lost_names += usize::from(!disk.exists(&dir.join("unsynced")));
    }
    assert!((20..180).contains(&lost_names) && (20..200).contains(&lost_bytes), "both outcomes occur");
}

#[test]
fn a_cut_stops_everything_until_power_returns() {
    let disk = SimulatedDisk::new(7);
    disk.create_dir_all(Path::new("/d")).expect("made");
    let mut file = disk.create(Path::new("/d/f")).expect("made");
    disk.cut_power_after(1);
    file.append(b"in time").expect("the last operation with power");
    assert!(file.append(b"too late").is_err() && !disk.has_power());
    assert!(disk.read(Path::new("/d/f")).is_err());
    disk.power_loss();
    assert!(disk.has_power() && disk.list(Path::new("/d")).is_ok());
}

#[test]
fn a_full_disk_and_faults_show_as_the_system_reports_them() {
    let disk = SimulatedDisk::new(7);
    disk.create_dir_all(Path::new("/d")).expect("made");
    let mut file = disk.create(Path::new("/d/f")).expect("made");
    disk.set_capacity_bytes(4);
    assert_eq!(file.append(b"123456").expect_err("over 4 bytes").kind(), ErrorKind::StorageFull);
    assert_eq!(disk.read(Path::new("/d/f")).expect("reads"), b"1234");
    disk.set_capacity_bytes(100);
    disk.inject(DiskFault::FailSyncs);
    assert!(file.sync_data().is_err());
    disk.heal();
    file.sync_data().expect("healed");
    disk.inject(DiskFault::FailCreates);
    assert!(disk.create(Path::new("/d/g")).is_err());
}
