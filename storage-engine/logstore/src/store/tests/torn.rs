//! Files that a broken disk or file system cut short or changed: the store opens, no line comes back that was not sent,
//! what is missing is told, and appends go on.

use super::*;

/// A bit is flipped in, and a cut made at, each stretch of this many bytes.
const STEP: usize = 512;

enum Harm {
    Cut(usize),
    Flip(usize),
}

/// A few files' worth of lines that hardly compress, and as much again that only the write-ahead log has.
async fn filled() -> (Vec<(PathBuf, Vec<u8>)>, Rows, Rows) {
    let mut machine = Machine::new(1);
    let store = machine.open();
    let mut random = 88_172_645_463_325_252u64;
    let mut line = |at: i64| {
        let words = (0..8).map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            format!("{random:016x}")
        });
        let words: Vec<String> = words.collect();
        (at, words[1..].join(" "), vec![("trace_id".to_owned(), words[0].clone())])
    };
    let mut part = |hours: i64| {
        let start = NOW - hours * 3600 * SECOND;
        let app = |name: &str, rows: Vec<Row>| (name.to_owned(), rows);
        let api = (0..60).map(|n| line(start + n * SECOND)).collect();
        let web = (0..20).map(|n| line(start + n * SECOND)).collect();
        Rows::from([app("api", api), app("web", web)])
    };
    let (early, late, unflushed) = (part(30), part(2), part(1));
    for part in [&early, &late] {
        append(&store, part).await.expect("stored");
        store.flush().await.expect("flushed");
    }
    append(&store, &unflushed).await.expect("stored");
    machine.stop(store).await;
    let mut flushed = early;
    late.into_iter().for_each(|(app, rows)| flushed.entry(app).or_default().extend(rows));
    let mut paths = machine.data_files();
    assert_eq!(paths.len(), 2);
    paths.push("/logs/manifest".into());
    let segments = machine.disk.list(Path::new("/logs/wal")).expect("there is one");
    paths.extend(segments.into_iter().map(|entry| Path::new("/logs/wal").join(entry.name)));
    let files = paths.into_iter().map(|path| {
        let bytes = machine.disk.read(&path).expect("readable");
        (path, bytes)
    });
    (files.collect(), sorted(flushed), sorted(unflushed))
}

/// A machine with these files, one of them harmed.
fn harmed(files: &[(PathBuf, Vec<u8>)], path: &Path, harm: &Harm) -> Machine {
    let machine = Machine::new(1);
    for (other, bytes) in files {
        let mut bytes = bytes.clone();
        match harm {
            _ if other != path => {}
            Harm::Cut(at) => bytes.truncate(*at),
            Harm::Flip(at) => bytes[*at] ^= 1 << (at % 8),
        }
        machine.disk.create_dir_all(other.parent().expect("a folder")).expect("made");
        machine.disk.write_atomically(other, &bytes).expect("written");
    }
    machine
}

/// Whether every row of `found` is one of `sent`, and how many of those are not found.
fn compare(found: &Rows, sent: &Rows) -> Result<usize, String> {
    for (app, rows) in found {
        if let Some(wrong) = rows.iter().find(|row| !sent.get(app).is_some_and(|sent| sent.contains(row))) {
            return Err(format!("{app} has {wrong:?}, which nobody sent"));
        }
    }
    let lost = |(app, rows): (&String, &Vec<Row>)| {
        let found = found.get(app).map_or(&[][..], Vec::as_slice);
        rows.iter().filter(|row| !found.contains(row)).count()
    };
    Ok(sent.iter().map(lost).sum())
}

#[tokio::test]
async fn no_torn_or_changed_file_keeps_the_store_from_opening_or_makes_a_wrong_line() {
    let (files, flushed, unflushed) = filled().await;
    let mut all = flushed.clone();
    unflushed.iter().for_each(|(app, rows)| all.entry(app.clone()).or_default().extend(rows.clone()));
    let (mut harms, mut losses) = (0, 0);
    for (path, bytes) in &files {
        let stretches = (0..bytes.len()).step_by(STEP);
        let flips =
            stretches.clone().map(|at| Harm::Flip((at + at / STEP * 197 % STEP).min(bytes.len() - 1)));
        for harm in stretches.map(Harm::Cut).chain(flips) {
            let context = match &harm {
                Harm::Cut(at) => format!("{} cut at {at}", path.display()),
                Harm::Flip(at) => format!("{} flipped at {at}", path.display()),
            };
            let mut machine = harmed(&files, path, &harm);
            let store = machine.try_open().unwrap_or_else(|error| panic!("{context}: {error}"));
            // Twice: the first answer finds the damage.
            for _ in 0..2 {
                let found = read_lenient(&store).await;
                let lost = compare(&found, &all).unwrap_or_else(|wrong| panic!("{context}: {wrong}"));
                let lost_flushed =
                    compare(&only(&found, &flushed), &flushed).expect("a part of what was sent");
                let told = store.missing(&TenantId::default(), TimeRange::ALL);
                assert!(
                    lost_flushed == 0 || !told.is_empty(),
                    "{context}: {lost_flushed} lines are missing, untold"
                );
                let is_log = path.starts_with("/logs/wal");
                assert!(lost == lost_flushed || is_log, "{context}: lines that are in memory are lost");
                assert!(lost_flushed == 0 || !is_log, "{context}: lines that are in files are lost");
                losses += usize::from(lost > 0);
            }
            append(&store, &rows("new", &[row(NOW, "after")])).await.expect("it takes more");
            store.flush().await.expect("and writes it");
            assert_eq!(read_lenient(&store).await["new"], [row(NOW, "after")], "{context}");
            machine.stop(store).await;
            harms += 1;
        }
    }
    assert!(harms > 100 && losses > 50, "{harms} harms with {losses} losses prove nothing");
}

/// The rows of `found` that are in `wanted`.
fn only(found: &Rows, wanted: &Rows) -> Rows {
    let mut kept = found.clone();
    kept.iter_mut().for_each(|(app, rows)| {
        rows.retain(|row| wanted.get(app).is_some_and(|wanted| wanted.contains(row)));
    });
    kept
}

/// All rows that can be read, each once.
async fn read_lenient(store: &LogStore) -> Rows {
    let mut found = Rows::new();
    for page in pages(store, &everything()).await {
        let (entries, range) = page.read_rows().expect("damage is no error");
        let app = page.labels().get("app").expect("every stream has it").to_owned();
        let pairs = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        for index in range {
            let entry = entries.get(index);
            let row = (entry.timestamp_ns, entry.line.to_owned(), entry.metadata.map(pairs).collect());
            found.entry(app.clone()).or_default().push(row);
        }
    }
    deduplicated(sorted(found))
}
