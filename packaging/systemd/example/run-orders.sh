#!/bin/sh
# The app and its sidecar by `dapr run`: what daprd@orders.service does, for trying it out.
set -eu
set -a
. /etc/dapr/vm.env
. /etc/dapr/trust-anchors.env
. /etc/dapr/apps/orders.env
set +a
exec dapr run --app-id orders --app-port "$APP_PORT" \
  --config /etc/dapr/config.yaml --resources-path /etc/dapr/resources \
  --dapr-listen-addresses 127.0.0.1 --dapr-http-port "$DAPR_HTTP_PORT" \
  --dapr-grpc-port "$DAPR_GRPC_PORT" --dapr-internal-grpc-port "$DAPR_INTERNAL_GRPC_PORT" \
  --metrics-port "$DAPR_METRICS_PORT" --scheduler-host-address "" \
  -- python3 "${ORDERS_APP:-/opt/orders/orders.py}"
