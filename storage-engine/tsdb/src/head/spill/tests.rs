//! Chunks read back wherever they are, a disk that fails costs memory only, and what nobody needs is gone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashSet;
use runtime::{Disk, DiskFault, SimulatedDisk};

use super::{Spill, SpillPlace};
use crate::metrics::HeadMetrics;

const BLOCK_BYTES: usize = 1000;
const FOLDER: &str = "/data/scratch";

fn spill(disk: &SimulatedDisk) -> Spill {
    let mut spill = Spill::new(BLOCK_BYTES, HeadMetrics::new());
    spill.set_folder(Arc::new(disk.clone()), PathBuf::from(FOLDER), 0).expect("the folder can be removed");
    spill
}

/// The bytes of a chunk that is told from others by its number.
fn chunk(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + number * 13) as u8).collect()
}

fn add(spill: &Spill, lens: &[usize]) -> Vec<SpillPlace> {
    let add = |(number, len): (usize, &usize)| spill.add(1, &chunk(number, *len)).expect("there are numbers");
    lens.iter().enumerate().map(add).collect()
}

fn check(spill: &Spill, places: &[SpillPlace], lens: &[usize]) {
    for (number, (place, len)) in places.iter().zip(lens).enumerate() {
        assert_eq!(spill.read(*place).expect("it can be read"), chunk(number, *len), "{number}");
    }
}

fn files(disk: &SimulatedDisk) -> Vec<String> {
    let files = disk.list(Path::new(FOLDER)).unwrap_or_default();
    files.into_iter().map(|file| file.name).collect()
}

/// Small ones, some that fill a block, and some whose length has no room in a place.
fn lens() -> Vec<usize> {
    let sizes = [1, 0, 300, 420, 999, 1000, 1001, 65_520, 65_530, 65_540, 70_000, 2 << 20];
    (0..60).map(|index| sizes[index * 5 % sizes.len()]).collect()
}

#[test]
fn chunks_read_back_from_the_open_block_from_memory_and_from_files() {
    let disk = SimulatedDisk::new(7);
    let (spill, lens) = (spill(&disk), lens());
    let places = add(&spill, &lens);
    check(&spill, &places, &lens);
    assert_eq!(files(&disk), Vec::<String>::new(), "nobody wrote yet");
    let before = spill.memory_bytes();
    assert!(spill.claim() && !spill.claim(), "one writes at a time");
    spill.write();
    assert!(
        spill.memory_bytes() < 2 * BLOCK_BYTES && before > 1 << 20,
        "{} of {before}",
        spill.memory_bytes()
    );
    assert!(!files(&disk).is_empty());
    check(&spill, &places, &lens);
    assert!(!spill.claim(), "too little waits");
    let later = add(&spill, &[400; 20]);
    assert!(spill.claim());
    spill.write();
    check(&spill, &later, &[400; 20]);
    check(&spill, &places, &lens);
}

#[test]
fn a_disk_that_is_full_or_broken_costs_memory_only() {
    for fault in [Some(DiskFault::FailCreates), Some(DiskFault::FailAppends), None] {
        let disk = SimulatedDisk::new(7);
        let (spill, lens) = (spill(&disk), lens());
        let places = add(&spill, &lens);
        match fault {
            Some(fault) => disk.inject(fault),
            None => disk.set_capacity_bytes(1000),
        }
        assert!(spill.claim());
        spill.write();
        check(&spill, &places, &lens);
        disk.heal();
        disk.set_capacity_bytes(u64::MAX);
        // As if time had passed.
        spill.files.lock().failed = None;
        assert!(spill.claim());
        spill.write();
        check(&spill, &places, &lens);
        assert!(spill.memory_bytes() < 2 * BLOCK_BYTES, "{}", spill.memory_bytes());
    }
}

#[test]
fn what_nobody_needs_goes_and_what_a_reader_found_stays() {
    let disk = SimulatedDisk::new(7);
    let spill = spill(&disk);
    let lens = [450; 40];
    let places = add(&spill, &lens);
    assert!(spill.claim());
    spill.write();
    let view = spill.view();
    let end = spill.begin_retain();
    let late = spill.add(1, b"late").expect("there are numbers");
    let needed: HashSet<u32> = places[10..12].iter().map(|place| Spill::block_of(*place)).collect();
    spill.retain(end, &needed);
    assert_eq!(spill.read(places[10]).expect("needed"), chunk(10, 450));
    assert_eq!(spill.read(late).expect("it came after the look began"), b"late");
    assert!(spill.read(places[0]).is_err() && spill.read(places[39]).is_err());
    assert_eq!(files(&disk).len(), 1);
    let end = spill.begin_retain();
    spill.retain(end, &HashSet::new());
    assert_eq!((files(&disk), spill.memory_bytes()), (Vec::new(), 0));
    let mut buffer = Vec::new();
    for (number, place) in places[..38].iter().enumerate() {
        assert_eq!(view.read(*place, &mut buffer).expect("the reader has it"), chunk(number, 450));
    }
    // Numbers go on, and files are made again.
    let places = add(&spill, &lens);
    assert!(spill.claim());
    spill.write();
    check(&spill, &places, &lens);
}

#[test]
fn damage_in_a_file_is_an_error_and_a_start_removes_the_files() {
    let disk = SimulatedDisk::new(7);
    let first = spill(&disk);
    let places = add(&first, &[450; 20]);
    assert!(first.claim());
    first.write();
    let path = Path::new(FOLDER).join(&files(&disk)[0]);
    disk.damage(&path, 100, 4);
    assert!(first.read(places[0]).is_err());
    assert_eq!(first.read(places[1]).expect("another chunk"), chunk(1, 450));
    disk.truncate(&path, 300).expect("the file is there");
    assert!(first.read(places[1]).is_err());
    let _second = spill(&disk);
    assert_eq!(files(&disk), Vec::<String>::new());
}
