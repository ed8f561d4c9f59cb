use super::{Grade, data_folder, ports};
use crate::config::Config;
use crate::config::expand::ProcessSurroundings;
use crate::config::load::load;

#[test]
fn only_ports_that_the_config_opens_are_looked_at() {
    let check = |text: &str, want: &[&str]| {
        let loaded = load(&[format!("yaml:{text}")], &[], &ProcessSurroundings).expect("loads");
        let findings = ports(&Config::new(loaded).expect("a good config"));
        let looked: Vec<_> = findings.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(looked, want, "{text}");
    };
    let service = "service: {pipelines: {logs: {receivers: [otlp], exporters: [nop]}}}";
    let forwarder = format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: 'localhost:45871'}}}}}}, otlp/unused: {{protocols: \
         {{grpc: {{}}}}}}}}\nexporters: {{nop: {{}}}}\n{service}"
    );
    check(&forwarder, &["OTLP HTTP", "Metrics"]);
    check(
        &format!("{forwarder}\nserver: {{loki: {{endpoint: 'localhost:45872'}}}}"),
        &["OTLP HTTP", "Loki API"],
    );
    let keeping = forwarder.replace("nop", "log_store");
    check(&keeping, &["OTLP HTTP", "Prometheus API", "Loki API"]);
    check(
        &format!("{keeping}\nserver: {{store_api: {{endpoint: 'localhost:45873'}}}}"),
        &["OTLP HTTP", "Prometheus API", "Loki API", "StoreAPI"],
    );
}

#[test]
fn a_folder_that_is_not_there_yet_is_judged_by_its_parent_and_nothing_stays_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let findings = data_folder(&folder.path().join("a/b"), 0);
    assert!(findings.iter().all(|finding| finding.grade != Grade::Failure), "{findings:?}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("is there").count(), 0);
}

#[test]
fn a_disk_with_less_free_than_the_stores_want_is_a_failure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let space = |free_bytes_min| data_folder(folder.path(), free_bytes_min).pop().expect("the second");
    assert_eq!(space(u64::MAX).grade, Grade::Failure);
    assert!(space(u64::MAX).text.contains("every write is refused"));
    assert_ne!(space(0).grade, Grade::Failure);
}
