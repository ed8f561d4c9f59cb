#!/usr/bin/env bash
# Apache Kafka in KRaft mode, one node, from its published jars. Needs Maven and a Java 17 runtime.
# Leaves $PEERS_BIN/kafka-lib (the jars) and $PEERS_BIN/kafka, a launcher:
#   kafka serve PORT DIR     formats DIR the first time; broker on 127.0.0.1:PORT, controller on PORT+1, in the foreground
#   kafka topics ARGS        and console-consumer, console-producer, consumer-groups: Kafka's own tools
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

cp "$here/pom.xml" "$work/"
(cd "$work" && mvn -q -B dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$work/lib")
rm -rf "$PEERS_BIN/kafka-lib"
mv "$work/lib" "$PEERS_BIN/kafka-lib"

cat > "$PEERS_BIN/kafka" <<'LAUNCHER'
#!/usr/bin/env bash
set -euo pipefail
bin="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
run=(java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$bin/kafka-lib/*")
tool() { local class=$1; shift; exec "${run[@]}" "org.apache.kafka.tools.$class" "$@"; }

serve() {
  local port=$1 dir=$2
  mkdir -p "$dir"
  cat > "$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:$((port + 1))
log.dirs=$dir/log
num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
PROPERTIES
  if [[ ! -f "$dir/log/meta.properties" ]]; then
    "${run[@]}" kafka.tools.StorageTool format -t dGlkZWdhdGUtaW50ZXJvcA -c "$dir/server.properties" > /dev/null
  fi
  exec "${run[@]}" kafka.Kafka "$dir/server.properties"
}

case "${1:-}" in
  --version) basename "$bin"/kafka-lib/kafka_2.13-*.jar .jar ;;
  serve) shift; serve "$@" ;;
  topics) shift; tool TopicCommand "$@" ;;
  console-consumer) shift; tool consumer.ConsoleConsumer "$@" ;;
  console-producer) shift; tool ConsoleProducer "$@" ;;
  consumer-groups) shift; tool consumer.group.ConsumerGroupCommand "$@" ;;
  *) echo "usage: kafka serve PORT DIR | topics|console-consumer|console-producer|consumer-groups ARGS" >&2; exit 2 ;;
esac
LAUNCHER
chmod +x "$PEERS_BIN/kafka"
