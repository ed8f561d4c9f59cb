//! Cached index headers on the local disk: any bytes are read or refused. The checksum is made to fit, so that what lies
//! behind it is reached.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use runtime::{Disk, SimulatedDisk};

/// Up to the number of files of chunks, and the bytes of each of them.
const HEAD_BYTES: usize = 36;
const SEGMENT_BYTES: usize = 8;

fuzz_target!(|data: &[u8]| {
    if data.len() < HEAD_BYTES {
        return;
    }
    let mut file = b"TGIH\x00\x00\x00\x01".to_vec();
    file.extend_from_slice(&data[8..HEAD_BYTES]);
    let count = u32::from_be_bytes([file[32], file[33], file[34], file[35]]) as usize;
    let rest = &data[HEAD_BYTES..];
    let segments = &rest[..rest.len().min(count.saturating_mul(SEGMENT_BYTES))];
    let crc = crc32c::crc32c_append(crc32c::crc32c(&file), segments);
    file.extend_from_slice(&crc.to_be_bytes());
    file.extend_from_slice(rest);
    let (disk, folder, path) = (SimulatedDisk::new(0), Path::new("/cache"), Path::new("/cache/header"));
    let made = disk.create_dir_all(folder).and_then(|()| disk.create(path));
    made.and_then(|mut made| made.append(&file)).expect("a simulated disk takes it");
    let index_bytes = u64::from_be_bytes(*file[8..].first_chunk().expect("it is inside"));
    let _ = bucket::check_index_header(disk.open_read(path).expect("it was written"), index_bytes);
});
