//! A local block into the bucket: chunks, index, a look whether all is there as long as it should be, and then its
//! description (BUCKET-1).

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use format::BlockMeta;
use runtime::{Clock, Disk, ReadFile};
use ulid::Ulid;

use crate::filenames::{CHUNKS, INDEX, META, of_block};
use crate::thanos_meta::{BlockFile, ThanosMeta};
use crate::{Bucket, BucketError, BucketResult};

/// A file of a block, open: it stays readable when the block is removed meanwhile.
struct Local {
    name: String,
    path: std::path::PathBuf,
    file: Arc<dyn ReadFile>,
    bytes: u64,
}

/// Uploads the block in `folder` under its identifier, with `thanos` as Thanos' section; files and the time of the upload
/// are filled in. `progress` is told about bytes as they are sent. Blocks. Returns the description as it is in the
/// bucket. What was uploaded when it fails is no block; doing it again replaces it.
pub fn upload_block(
    bucket: &Bucket,
    disk: &dyn Disk,
    clock: &dyn Clock,
    folder: &Path,
    mut thanos: ThanosMeta,
    progress: &mut dyn FnMut(u64),
) -> BucketResult<BlockMeta> {
    let meta_path = folder.join(META);
    let bytes = disk.read(&meta_path).map_err(|error| BucketError::disk(&meta_path, error))?;
    let mut meta = BlockMeta::decode(&bytes)
        .map_err(|error| BucketError::corrupt(meta_path.display().to_string(), error.to_string()))?;
    if thanos.labels.is_empty() {
        let message = "blocks without external labels are not uploaded, because nothing tells them apart";
        return Err(BucketError::config("external_labels", message));
    }
    let files = open_files(disk, folder)?;
    thanos.segment_files =
        files.iter().filter_map(|file| file.name.strip_prefix("chunks/")).map(str::to_owned).collect();
    thanos.files = files
        .iter()
        .map(|file| BlockFile { rel_path: file.name.clone(), size_bytes: file.bytes, hash: None })
        .chain([BlockFile { rel_path: META.to_owned(), ..BlockFile::default() }])
        .collect();
    for file in &files {
        bucket.put_file(&of_block(meta.ulid, &file.name), &file.path, &*file.file, progress)?;
    }
    check(bucket, meta.ulid, &files)?;
    thanos.upload_time = DateTime::<Utc>::from_timestamp_millis(clock.now_ms());
    thanos.put_into(&mut meta);
    bucket.wait(bucket.put(&of_block(meta.ulid, META), meta.encode()))?;
    Ok(meta)
}

/// Chunk files in order, then the index.
fn open_files(disk: &dyn Disk, folder: &Path) -> BucketResult<Vec<Local>> {
    let chunks = folder.join(CHUNKS);
    let entries = disk.list(&chunks).map_err(|error| BucketError::disk(&chunks, error))?;
    let segments = entries.into_iter().filter(|entry| !entry.is_dir);
    let names = segments.map(|entry| format!("{CHUNKS}/{}", entry.name)).chain([INDEX.to_owned()]);
    names
        .map(|name| {
            let path = folder.join(&name);
            let open = || {
                let file = disk.open_read(&path)?;
                let bytes = file.len()?;
                Ok((file, bytes))
            };
            let (file, bytes) = open().map_err(|error| BucketError::disk(&path, error))?;
            Ok(Local { name, path, file, bytes })
        })
        .collect()
}

/// Whether the bucket has all files with their sizes, and no chunk file more.
fn check(bucket: &Bucket, ulid: Ulid, files: &[Local]) -> BucketResult<()> {
    let folder = ulid.to_string();
    let objects = bucket.wait(bucket.list(Some(&folder)))?;
    for file in files {
        let name = of_block(ulid, &file.name);
        let found = objects.iter().find(|object| object.name == name).map(|object| object.bytes);
        if found != Some(file.bytes) {
            let message = format!("it has {found:?} bytes after its upload, not {}", file.bytes);
            return Err(BucketError::corrupt(name, message));
        }
    }
    let chunks = of_block(ulid, CHUNKS);
    for object in objects.iter().filter(|object| object.name.starts_with(&chunks)) {
        if !files.iter().any(|file| of_block(ulid, &file.name) == object.name) {
            // Left by an upload of another form of the block that was cut.
            bucket.wait(bucket.delete(&object.name))?;
        }
    }
    Ok(())
}
