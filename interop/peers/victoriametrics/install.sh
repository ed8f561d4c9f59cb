#!/usr/bin/env bash
# VictoriaMetrics, one node, out of the distribution's package, which is unpacked and not installed: its Go module is not
# served as a module. Leaves $PEERS_BIN/victoria-metrics and its version beside it.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
if ! apt-get download victoria-metrics >/dev/null 2>&1; then
  apt-get update -qq
  apt-get download victoria-metrics >/dev/null
fi
dpkg-deb --extract victoria-metrics_*.deb unpacked
install -m 755 unpacked/usr/bin/victoria-metrics "$PEERS_BIN/victoria-metrics"
dpkg-deb --field victoria-metrics_*.deb Version > "$PEERS_BIN/victoria-metrics.version"
