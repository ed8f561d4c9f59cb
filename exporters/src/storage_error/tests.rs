use model::ErrorKind;
use storage_api::StorageError;

use super::pipeline_error;

#[test]
fn senders_are_told_what_is_wrong_and_not_where_on_disk() {
    for (whole, told) in [
        (
            "writing /var/lib/tidegate/metrics/a b/wal/0001: no space left",
            "writing a b/wal/0001: no space left",
        ),
        ("cannot open \"./data/logs/x.parquet\": denied", "cannot open \"x.parquet\": denied"),
        ("the log in ../data/wal/ is closed", "the log in wal is closed"),
        ("(/a/b, /c)", "(b, c)"),
        ("only 3 MiB are free, 256 MiB are wanted", "only 3 MiB are free, 256 MiB are wanted"),
        (
            "1/2 of a/b at https://host/x and . and / and ...",
            "1/2 of a/b at https://host/x and . and / and ...",
        ),
        ("", ""),
    ] {
        let error = pipeline_error(StorageError::new(ErrorKind::Unavailable, whole));
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unavailable, told.to_owned()));
    }
}
