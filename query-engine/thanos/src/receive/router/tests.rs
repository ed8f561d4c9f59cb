use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::ErrorKind;
use parking_lot::Mutex;
use runtime::{MemoryBudget, Tasks};
use storage_api::BoxFuture;
use wire::protobuf::{Fields, Value, put_bytes_field, put_message, put_varint_field};

use super::{Router, RouterSettings};
use crate::error::{ThanosError, ThanosResult};
use crate::grpc::Compression;
use crate::receive::{Hashrings, WriteTarget};

/// Keeps what it is given, or refuses it.
#[derive(Default)]
struct Kept {
    messages: Mutex<Vec<Bytes>>,
    refusal: Option<ErrorKind>,
}

impl WriteTarget for Kept {
    fn remote_write(&self, message: Bytes) -> BoxFuture<'_, ThanosResult<()>> {
        self.messages.lock().push(message);
        let answer = self.refusal.map_or(Ok(()), |kind| Err(ThanosError::new(kind, "no")));
        Box::pin(std::future::ready(answer))
    }
}

fn request(series: &[&str]) -> Bytes {
    let mut out = Vec::new();
    for name in series {
        put_message(&mut out, 1, |out| {
            put_message(out, 1, |out| {
                put_bytes_field(out, 1, b"__name__");
                put_bytes_field(out, 2, name.as_bytes());
            });
            put_message(out, 2, |out| put_varint_field(out, 2, 1000));
        });
    }
    out.into()
}

/// A router whose other members do not exist.
fn router(members: usize, replication_factor: usize, local: Option<Arc<Kept>>) -> Router {
    let addresses: Vec<String> = (0..members).map(|member| format!("\"127.0.0.1:{}\"", member + 1)).collect();
    let file = format!(r#"[{{"endpoints": [{}], "algorithm": "ketama"}}]"#, addresses.join(","));
    let settings = RouterSettings {
        replication_factor,
        local_endpoint: local.is_some().then(|| "127.0.0.1:1".to_owned()),
        forward_timeout: Duration::from_secs(5),
        compression: Compression::Snappy,
        tls: None,
    };
    let rings = Hashrings::parse(file.as_bytes(), replication_factor).expect("a file");
    let local = local.map(|local| local as Arc<dyn WriteTarget>);
    Router::new(settings, rings, local, Tasks::new()).expect("good settings")
}

fn fields(message: &Bytes) -> BTreeMap<u32, Vec<u8>> {
    let mut fields = Fields::new(message);
    let mut found: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    while let Some(field) = fields.next_field().expect("sound") {
        let value = match field.value {
            Value::Bytes(bytes) => bytes.to_vec(),
            Value::Varint(number) => vec![u8::try_from(number).expect("small")],
            _ => panic!("no such field"),
        };
        found.entry(field.number).or_default().extend(value);
    }
    found
}

#[tokio::test]
async fn series_go_on_as_they_came_with_tenant_and_replica() {
    let kept = Arc::new(Kept::default());
    let router = router(1, 1, Some(Arc::clone(&kept)));
    let sent = request(&["a", "b"]);
    router.route("team", 0, sent.clone()).await.expect("it is written");
    let message = kept.messages.lock().pop().expect("one message");
    assert_eq!(&message[..sent.len()], &sent[..]);
    let found = fields(&message);
    assert_eq!((found[&2].as_slice(), found[&3].as_slice()), (&b"team"[..], &[1][..]));
    router.route("", 0, sent).await.expect("it is written");
    assert_eq!(fields(&kept.messages.lock()[0])[&2], b"default-tenant");
    router.route("", 0, Bytes::new()).await.expect("nothing is written");
    assert_eq!(kept.messages.lock().len(), 1);
}

#[tokio::test]
async fn one_of_two_is_enough_and_one_of_three_is_not() {
    let names: Vec<String> = (0..50).map(|number| format!("s{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // Every series is here and on one that does not exist.
    let kept = Arc::new(Kept::default());
    router(2, 2, Some(Arc::clone(&kept))).route("", 0, request(&names)).await.expect("one of two has it");
    let error = router(3, 3, Some(kept)).route("", 0, request(&names)).await.expect_err("one of three");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let refusing = Arc::new(Kept { refusal: Some(ErrorKind::Conflict), ..Kept::default() });
    let error = router(1, 1, Some(refusing)).route("", 0, request(&names)).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

#[tokio::test]
async fn what_was_replicated_already_is_stored_here_and_goes_nowhere_else() {
    let kept = Arc::new(Kept::default());
    let router = router(3, 3, Some(Arc::clone(&kept)));
    let mut message = request(&["a", "b", "c"]).to_vec();
    put_bytes_field(&mut message, 2, b"team");
    put_varint_field(&mut message, 3, 2);
    router.remote_write(message.clone().into()).await.expect("it is stored");
    assert_eq!(kept.messages.lock().len(), 1);
    put_varint_field(&mut message, 3, 4);
    let error = router.remote_write(message.into()).await.expect_err("there are three replicas");
    assert_eq!(error.to_string(), "request has replica 4, replicated is to 3");
}

#[tokio::test]
async fn tenants_of_the_newer_form_are_routed_each() {
    let kept = Arc::new(Kept::default());
    let router = router(1, 1, Some(Arc::clone(&kept)));
    let mut message = Vec::new();
    for tenant in ["one", "two"] {
        put_message(&mut message, 4, |out| {
            out.extend_from_slice(&request(&[tenant]));
            put_bytes_field(out, 2, tenant.as_bytes());
        });
    }
    router.remote_write(message.into()).await.expect("it is stored");
    let tenants: Vec<Vec<u8>> =
        kept.messages.lock().iter().map(|message| fields(message)[&2].clone()).collect();
    assert_eq!(tenants, [b"one".to_vec(), b"two".to_vec()]);
}

/// Answers when it is told to.
struct Waits(tokio::sync::Semaphore);

impl WriteTarget for Waits {
    fn remote_write(&self, _: Bytes) -> BoxFuture<'_, ThanosResult<()>> {
        Box::pin(async {
            self.0.acquire().await.expect("it is never closed").forget();
            Ok(())
        })
    }
}

#[tokio::test]
async fn what_is_on_its_way_is_held_within_the_budget_until_the_last_member_is_done() {
    let waits = Arc::new(Waits(tokio::sync::Semaphore::new(0)));
    let mut router = router(1, 1, Some(Arc::default()));
    router.local = Some(Arc::clone(&waits) as Arc<dyn WriteTarget>);
    let sent = request(&["a"]);
    let bytes = sent.len() as u64;
    let budget = MemoryBudget::new(bytes);
    let router = router.with_budget(Arc::clone(&budget));
    {
        // The request goes away before its member answered.
        let route = router.route("", 0, sent.clone());
        assert!(futures_util::poll!(std::pin::pin!(route)).is_pending());
    }
    assert_eq!(budget.reserved_bytes(), bytes);
    let error = router.route("", 0, sent).await.expect_err("there is no room for a second one");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    waits.0.add_permits(1);
    let given_back = async {
        while budget.reserved_bytes() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), given_back).await.expect("it is given back");
}
