use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use super::super::Grade;
use super::look;

fn findings(config: &Value, now: &str) -> Vec<(String, Grade, String)> {
    let now: DateTime<Utc> = now.parse().expect("a time");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let all = look(config, &provider, now).into_iter();
    all.map(|finding| (finding.what, finding.grade, finding.text)).collect()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("writable");
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, closed).expect("ours");
    path.display().to_string()
}

/// A certificate of the year 2026 and its key.
fn pair(folder: &Path, name: &str) -> (String, String) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("names");
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let certificate = write(folder, &format!("{name}.crt"), &certificate.pem());
    (certificate, write(folder, &format!("{name}.key"), &key.serialize_pem()))
}

#[test]
fn certificates_and_keys_are_looked_at_wherever_they_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ((one, one_key), (_, other_key)) = (pair(folder.path(), "one"), pair(folder.path(), "other"));
    let check = |tls: Value, now: &str, want: &[(&str, Grade, &str)]| {
        let config = json!({"receivers": {"otlp": {"protocols": {"grpc": {"tls": tls}}}}});
        let got = findings(&config, now);
        assert_eq!(got.len(), want.len(), "{got:?}");
        for ((what, grade, text), (key, want_grade, want_text)) in got.iter().zip(want) {
            assert_eq!(
                (what.as_str(), grade),
                (format!("receivers::otlp::protocols::grpc::tls::{key}").as_str(), want_grade)
            );
            assert!(text.contains(want_text), "{text}");
        }
    };
    let good = json!({"cert_file": one, "key_file": one_key});
    let key = ("key_file", Grade::Good, "is a private key");
    let summer = "2026-07-01T00:00:00Z";
    check(good.clone(), summer, &[("cert_file", Grade::Good, "2027-01-01 00:00 UTC, 184 days"), key]);
    check(good.clone(), "2026-12-25T00:00:00Z", &[("cert_file", Grade::Warning, "7 days"), key]);
    check(good.clone(), "2027-01-01T00:00:00Z", &[("cert_file", Grade::Failure, "ended on 2027-01-01"), key]);
    check(good, "2025-12-31T00:00:00Z", &[("cert_file", Grade::Failure, "begins on 2026-01-01"), key]);
    check(
        json!({"cert_file": one, "key_file": other_key}),
        summer,
        &[("cert_file", Grade::Good, "valid"), ("key_file", Grade::Failure, "does not go with")],
    );
    check(
        json!({"ca_file": one_key, "key_file": one, "client_ca_file": "/not/there"}),
        summer,
        &[
            ("ca_file", Grade::Failure, "no certificate in it"),
            ("client_ca_file", Grade::Failure, "cannot be read: No such file"),
            ("key_file", Grade::Failure, "no private key"),
        ],
    );
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&one_key, open).expect("ours");
    check(
        json!({"key_file": one_key}),
        summer,
        &[("key_file", Grade::Warning, "every user of this machine")],
    );
}

#[test]
fn files_with_secrets_are_looked_at_and_files_that_are_written_are_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (users, empty) = (write(folder.path(), "users", "a:b"), write(folder.path(), "empty", ""));
    let config = json!({
        "extensions": {
            "basicauth": {"htpasswd": {"file": users, "inline": "x"}},
            "bearertokenauth": {"filename": empty},
        },
        "exporters": {"file": {"path": "/not/there"}},
    });
    let got = findings(&config, "2026-07-01T00:00:00Z");
    let short: Vec<_> = got.iter().map(|(what, grade, _)| (what.as_str(), *grade)).collect();
    let want = [
        ("extensions::basicauth::htpasswd", Grade::Good),
        ("extensions::bearertokenauth::filename", Grade::Failure),
    ];
    assert_eq!(short, want, "{got:?}");
}

#[test]
fn bytes_that_are_no_certificate_have_no_times() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for len in 0..40_u8 {
        for bytes in [vec![0x30; usize::from(len)], vec![0xff; usize::from(len)], (0..len).collect()] {
            assert_eq!(super::valid_times(&bytes), None);
        }
    }
    drop(folder);
}
