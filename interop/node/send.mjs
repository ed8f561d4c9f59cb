// Records metrics and logs with the OpenTelemetry SDK for Node and sends them as OTLP/JSON to the base URL in argv[2].
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-http";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { LoggerProvider, SimpleLogRecordProcessor } from "@opentelemetry/sdk-logs";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";

const base = process.argv[2];
const resource = resourceFromAttributes({ "service.name": "frontend", "service.instance.id": "web-1" });

const reader = new PeriodicExportingMetricReader({
  exporter: new OTLPMetricExporter({ url: `${base}/v1/metrics` }),
  exportIntervalMillis: 3_600_000,
});
const meterProvider = new MeterProvider({ resource, readers: [reader] });
const meter = meterProvider.getMeter("interop");
const counter = meter.createCounter("web.clicks");
counter.add(2, { attr: "a" });
counter.add(3.5, { attr: "b" });
meter.createUpDownCounter("web.sessions").add(-4, { attr: "c" });
meter.createObservableGauge("web.load").addCallback((result) => result.observe(0.1, { attr: "d" }));
const histogram = meter.createHistogram("web.latency", {
  unit: "ms",
  advice: { explicitBucketBoundaries: [10, 100] },
});
for (const ms of [5, 50, 50, 500]) histogram.record(ms, { attr: "e" });
await meterProvider.shutdown();

const loggerProvider = new LoggerProvider({
  resource,
  processors: [new SimpleLogRecordProcessor({ exporter: new OTLPLogExporter({ url: `${base}/v1/logs` }) })],
});
const logger = loggerProvider.getLogger("interop");
logger.emit({ body: "hello from node", severityNumber: 9, attributes: { big: 9007199254740991, half: 0.5, flag: false, list: [1, "two"] } });
logger.emit({ body: { a: { b: [1, null, "x"] } }, severityNumber: 17, attributes: { "naïve": "ünïcode 🎉" } });
await loggerProvider.forceFlush();
await loggerProvider.shutdown();
