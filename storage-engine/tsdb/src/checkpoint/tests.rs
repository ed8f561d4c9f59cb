//! A checkpoint reads back whole, damage costs one record, and a power loss leaves the old one or the new one.

use std::path::Path;

use format::head_record::END;
use runtime::{Disk, SimulatedDisk};

use super::{CheckpointWriter, FRAME_BYTES, HEADER_BYTES, ReadCheckpoint, read_checkpoint};
use crate::error::TsdbError;

const DIR: &str = "/data/tenant";

fn write(disk: &SimulatedDisk, sequence: u64, records: &[&[u8]]) -> Result<u64, TsdbError> {
    disk.create_dir_all(Path::new(DIR)).map_err(|error| TsdbError::disk(Path::new(DIR), error))?;
    let mut writer = CheckpointWriter::begin(disk, Path::new(DIR), sequence)?;
    for record in records {
        writer.add(record)?;
    }
    writer.finish()
}

fn read(disk: &SimulatedDisk) -> (ReadCheckpoint, Vec<Vec<u8>>) {
    let mut records = Vec::new();
    let read = read_checkpoint(disk, Path::new(DIR), |record| records.push(record.to_vec())).expect("reads");
    (read, records)
}

#[test]
fn records_read_back_and_damage_at_any_byte_costs_no_other_record() {
    let disk = SimulatedDisk::new(0);
    assert_eq!(read(&disk), (ReadCheckpoint::default(), Vec::new()));
    let records: [&[u8]; 3] = [b"one", b"two", &[END]];
    let bytes = write(&disk, 7, &records).expect("written");
    let whole = (ReadCheckpoint { sequence: 7, bytes, damaged: 0 }, records.map(<[u8]>::to_vec).to_vec());
    assert_eq!(read(&disk), whole);
    let path = Path::new(DIR).join("checkpoint");
    let second = HEADER_BYTES + FRAME_BYTES + 3;
    for offset in 0..usize::try_from(bytes).expect("small") {
        disk.damage(&path, offset, 0x80);
        let (found, got) = read(&disk);
        assert!(found.damaged > 0, "damage at {offset} is seen");
        assert!(got.iter().all(|record| whole.1.contains(record)), "nothing wrong is read");
        if offset >= second {
            assert_eq!(got.first(), whole.1.first(), "damage at {offset}");
        }
        disk.damage(&path, offset, 0x80);
    }
    assert!(disk.exists(&Path::new(DIR).join("checkpoint.damaged")));
    disk.truncate(&path, second as u64).expect("cut");
    let (found, got) = read(&disk);
    assert_eq!((found.damaged, got), (1, vec![b"one".to_vec()]));
}

#[test]
fn a_newer_version_is_refused_and_left_alone() {
    let disk = SimulatedDisk::new(0);
    disk.create_dir_all(Path::new(DIR)).expect("made");
    let mut header = super::header(1);
    header[4] = 2;
    let checksum = crc32c::crc32c(&header[..16]);
    header[16..].copy_from_slice(&checksum.to_le_bytes());
    disk.write_atomically(&Path::new(DIR).join("checkpoint"), &header).expect("written");
    let error = read_checkpoint(&disk, Path::new(DIR), |_| ()).expect_err("refused");
    assert_eq!(error.to_string(), "/data/tenant/checkpoint has version 2, this program reads 1");
}

#[test]
fn a_power_loss_leaves_the_old_checkpoint_or_the_new_one() {
    for seed in 0..200 {
        let disk = SimulatedDisk::new(seed);
        let old: [&[u8]; 2] = [b"old", &[END]];
        write(&disk, 1, &old).expect("written");
        disk.cut_power_after(seed % 12);
        let written = write(&disk, 2, &[b"new", b"more", &[END]]);
        disk.power_loss();
        let (found, records) = read(&disk);
        assert_eq!(found.damaged, 0, "seed {seed}");
        match found.sequence {
            1 => assert!(written.is_err() && records == old.map(<[u8]>::to_vec), "seed {seed}"),
            _ => assert_eq!(records, [b"new".to_vec(), b"more".to_vec(), vec![END]], "seed {seed}"),
        }
    }
}
