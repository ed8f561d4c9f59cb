use super::Config;
use super::expand::Surroundings;
use super::load::load;

/// An environment and files that a test sets.
pub(super) struct Fixed {
    pub(super) env: &'static [(&'static str, &'static str)],
    pub(super) files: &'static [(&'static str, &'static str)],
}

impl Surroundings for Fixed {
    fn env(&self, name: &str) -> Option<String> {
        self.env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
    }

    fn file(&self, path: &str) -> std::io::Result<String> {
        let found = self.files.iter().find(|(p, _)| *p == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| std::io::Error::other("no such file"))
    }
}

const EMPTY: Fixed = Fixed { env: &[], files: &[] };

fn config(yaml: &str) -> Result<Config, String> {
    let loaded = load(&[format!("yaml:{yaml}")], &[], &EMPTY).map_err(|fault| fault.to_string())?;
    Config::new(loaded).map_err(|fault| fault.to_string())
}

#[test]
fn faults_name_file_line_path_and_what_is_allowed() {
    for (yaml, want) in [
        (
            "recievers: {}",
            "yaml::1:1: unknown section \"recievers\", have receivers, processors, exporters, connectors, extensions, service, server, storage, query, compactor, store_gateway, receive",
        ),
        (
            "service:\n  telemetri: {}",
            "yaml::2:3: service::telemetri: unknown field `telemetri`, expected one of `extensions`, `pipelines`, `telemetry`",
        ),
        (
            "service:\n  telemetry:\n    logs: {level: loud}",
            "yaml::3:12: service::telemetry::logs::level: unknown variant `loud`, expected one of `DEBUG`, `debug`, `INFO`, `info`, `WARN`, `warn`, `ERROR`, `error`",
        ),
        (
            "server:\n  loki: {endpoint: 5}",
            "yaml::2:10: server::loki::endpoint: invalid type: integer `5`, expected a string",
        ),
        (
            "storage:\n  external_labels: {a: b}\n  bucket: {type: SWIFT}",
            "yaml::3:12: storage::bucket::type: SWIFT is not supported by this version, have AZURE, FILESYSTEM, GCS, S3",
        ),
        (
            "storage:\n  metrics: {retention_size: 1.5GB}",
            "yaml::2:13: storage::metrics::retention_size: invalid size \"1.5GB\", want a whole number, with a unit of B, KB, MB, GB, TB, PB, EB, e.g. 10GB",
        ),
        (
            "storage:\n  logs:\n    overrides: {a/b: {}}",
            "yaml::3:5: storage::logs::overrides: tenant id \"a/b\" contains '/'; allowed are letters, digits and !_.*'()-",
        ),
        (
            "compactor: {lease_duration: 1ms}",
            "yaml::1:13: compactor::lease_duration: 1ms is too short to be kept, at least 1s is allowed",
        ),
        (
            "query: {timeout: soon}",
            "yaml::1:9: query::timeout: invalid duration \"soon\", want numbers with units of ns, us, ms, s, m, h, d, w, y, e.g. 1h30m",
        ),
        ("- a", "yaml::1:1: a config must be a map at the top"),
        ("a: 1\na: 2", "yaml::2:1: mapping key \"a\" already defined at line 1"),
    ] {
        assert_eq!(config(yaml).map(|_| ()), Err(want.to_owned()), "{yaml}");
    }
}

#[test]
fn an_empty_config_has_the_documented_defaults() {
    let config = config("{}").expect("empty is a config");
    assert_eq!(config.server.prometheus.endpoint(), "localhost:9090");
    assert_eq!(config.server.loki.endpoint(), "localhost:3100");
    assert_eq!(config.storage.directory.to_str(), Some("./tidegate-data"));
    assert_eq!(config.query.timeout.as_secs(), 120);
    assert_eq!(config.storage.logs.retention.as_secs(), 31 * 86_400);
    assert_eq!(config.query.max_samples, 50_000_000);
}

#[test]
fn a_text_field_gets_the_text_of_a_reference_that_looks_like_a_number() {
    let surroundings = Fixed { env: &[("ADDRESS", "0777"), ("N", "30")], files: &[] };
    let yaml = "yaml:{receive: {local_endpoint: '${env:ADDRESS}'}, query: {max_concurrency: '${N}'}}";
    let loaded = load(&[yaml.to_owned()], &[], &surroundings).expect("loads");
    let config = Config::new(loaded).expect("types");
    assert_eq!(config.receive.local_endpoint.as_deref(), Some("0777"));
    assert_eq!(config.query.max_concurrency, 30);
}

#[test]
fn experimental_parts_of_promql_are_on_only_when_they_are_named() {
    let parse = |yaml: &str| config(yaml).expect("types").query.engine().parse;
    assert!(!parse("query: {timeout: 1m}").experimental_functions);
    let named = parse("query: {features: [promql-experimental-functions, promql-binop-fill-modifiers]}");
    assert!(named.experimental_functions && named.fill_modifiers && !named.extended_range_selectors);
    let error = config("query: {features: [promql-magic]}").expect_err("no such feature");
    assert!(error.contains("promql-magic") && error.contains("promql-extended-range-selectors"), "{error}");
}
