//! Every name that queues on disk put into the folder of their storage. The log's own names are the `wal` crate's.

use crate::ComponentId;

/// Marks of the records that are done with.
pub(super) const MARKS: &str = "delivered";

/// Held while a program uses the queue.
pub(super) const LOCK: &str = "lock";

/// The folder of an exporter's queue: `exporter-<type>` or `exporter-<type>-<name>`; bytes of the name other than
/// letters, digits, `_` and `.` are written as `%` and two hexadecimal digits. No two ids have the same.
pub(super) fn queue(id: &ComponentId) -> String {
    let mut folder = format!("exporter-{}", id.kind);
    if !id.name.is_empty() {
        folder.push('-');
    }
    for byte in id.name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' => folder.push(char::from(byte)),
            _ => folder.push_str(&format!("%{byte:02x}")),
        }
    }
    folder
}

#[cfg(test)]
mod tests {
    use super::queue;
    use crate::ComponentId;

    #[test]
    fn every_exporter_has_a_folder_of_its_own_inside_the_storage() {
        let check = |id: &str, folder: &str| {
            assert_eq!(queue(&ComponentId::parse(id).expect("an id")), folder);
        };
        check("otlp", "exporter-otlp");
        check("otlp/a_b.c", "exporter-otlp-a_b.c");
        check("otlp/../../etc", "exporter-otlp-..%2f..%2fetc");
        check("otlp/a-b", "exporter-otlp-a%2db");
    }
}
