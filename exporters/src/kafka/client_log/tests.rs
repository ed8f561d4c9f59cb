use std::time::Duration;

use pipelines::ComponentId;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio_util::sync::CancellationToken;

use super::{ClientLog, Kind};

#[tokio::test(start_paused = true)]
async fn each_kind_of_error_is_told_once_a_minute_and_none_once_the_client_is_to_end() {
    let end = CancellationToken::new();
    let id = ComponentId::parse("kafka").expect("an id");
    let log = ClientLog::of_receiver(&id, end.clone());
    let error = |code| log.due(Kind::of(&KafkaError::Global(code)));
    let line = |facility| log.due(Some(Kind::of_line(facility)));
    assert_eq!(line("FAIL"), Some(1));
    assert_eq!(error(RDKafkaErrorCode::BrokerTransportFailure), None, "the same in other words");
    assert_eq!(error(RDKafkaErrorCode::Resolve), None);
    assert_eq!(error(RDKafkaErrorCode::AllBrokersDown), None);
    let rejected = KafkaError::MessageConsumption(RDKafkaErrorCode::Authentication);
    assert_eq!(log.due(Kind::of(&rejected)), Some(1), "something else");
    assert_eq!(line("REQTMOUT"), Some(1));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(error(RDKafkaErrorCode::AllBrokersDown), None);
    assert_eq!(line("FAIL"), Some(3), "with those of the minute");
    assert_eq!(error(RDKafkaErrorCode::Authentication), Some(1), "whoever reports it");
    tokio::time::advance(Duration::from_secs(60)).await;
    end.cancel();
    assert_eq!(line("FAIL"), None);
    assert_eq!(error(RDKafkaErrorCode::Authentication), None);
}
