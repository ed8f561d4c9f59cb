//! What fuzz targets call: the readers of bytes from stores and name servers, which are private to this crate otherwise.

use bytes::Bytes;
use model::{SampleColumns, TimeRange};
use storage_api::SeriesChunks;

use crate::chunk_columns::Wanted;
use crate::dedup::DedupFunction;
use crate::grpc::{Compression, MessageReader};
use crate::replicas::ReplicaChunks;
use crate::series_frame::{self, Received};

pub use crate::discovery::read_name_server_answer;

/// Cap on a message, bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Reads a body as that of an answer to `Series`, in pieces, down to the samples of its chunks. The first byte chooses
/// compression and size of the pieces.
pub fn read_series_answer(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let known = [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Snappy];
    let mut reader = MessageReader::new(known[usize::from(choice % 4)], MESSAGE_BYTES_MAX);
    for piece in body.chunks(usize::from(choice / 4) + 1) {
        reader.push(piece);
        loop {
            match reader.next_message() {
                Ok(Some(message)) => read_series_message(&message),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// Reads a `SeriesResponse` down to the samples of its chunks, each way of merging them in turn.
pub fn read_series_message(message: &Bytes) {
    assert!(message.len() <= MESSAGE_BYTES_MAX, "a message is capped");
    let Ok(Received::Series(series)) = series_frame::read(message) else { return };
    let functions = [DedupFunction::Penalty, DedupFunction::Chain, DedupFunction::Union];
    for (index, series) in series.into_iter().enumerate() {
        let wanted = Wanted::for_function(if index % 2 == 0 { "rate" } else { "avg_over_time" });
        let (function, bounds) = (functions[index % functions.len()], TimeRange::ALL);
        let chunks = ReplicaChunks::deduplicated(series.chunks, wanted, function, index % 2 == 0, bounds);
        let mut columns = SampleColumns::default();
        if chunks.decode(TimeRange::ALL, &mut columns).is_ok() {
            assert_eq!(columns.timestamps_ms.len(), columns.values.len(), "each sample has both");
        }
    }
}
