{{/* Labels of every object of a part. */}}
{{- define "dapr.labels" -}}
{{- range $name, $text := .Values.global.k8sLabels }}
{{ $name }}: {{ tpl $text $ | quote }}
{{- end }}
{{- end }}

{{/* Labels of a workload's pods. Arguments: app, context. */}}
{{- define "dapr.podLabels" -}}
app: {{ .app }}
{{ include "dapr.labels" .context | trim }}
{{- with .context.Values.global.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What tells sentry who a pod is, and Prometheus where to look. Arguments: role, context. */}}
{{- define "dapr.podAnnotations" -}}
dapr.io/control-plane: {{ .role }}
{{- include "dapr.scraping" .context }}
{{- end }}

{{- define "dapr.scraping" -}}
{{- with .Values.global.prometheus }}
{{- if .enabled }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
prometheus.io/path: "/"
{{- end }}
{{- end }}
{{- end }}

{{/* Annotations of a Service. Arguments: annotations, context. */}}
{{- define "dapr.serviceAnnotations" -}}
{{- include "dapr.scraping" .context }}
{{- with .annotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dapr.metricsServicePort" -}}
{{- with .Values.global.prometheus }}
{{- if .enabled }}
- name: metrics
  port: {{ .port }}
  targetPort: {{ .port }}
  protocol: TCP
{{- end }}
{{- end }}
{{- end }}

{{- define "dapr.metricsContainerPort" -}}
{{- with .Values.global.prometheus }}
{{- if .enabled }}
- name: metrics
  containerPort: {{ .port }}
  protocol: TCP
{{- end }}
{{- end }}
{{- end }}

{{/* Arguments that all programs share. */}}
{{- define "dapr.commonArguments" -}}
- "--log-level"
- {{ .Values.logLevel | quote }}
{{- if .Values.global.logAsJson }}
- "--log-as-json"
{{- end }}
{{- with .Values.global.prometheus }}
{{- if .enabled }}
- "--enable-metrics"
- "--metrics-port"
- {{ .port | quote }}
{{- else }}
- "--enable-metrics=false"
{{- end }}
{{- end }}
{{- end }}

{{/* The full name of an image. Arguments: name, context. */}}
{{- define "dapr.image" -}}
{{- if contains "/" .name -}}
{{ .name }}
{{- else -}}
{{ .context.Values.global.registry }}/{{ .name }}:{{ .context.Values.global.tag }}
{{- end -}}
{{- end }}

{{- define "dapr.imagePullSecrets" -}}
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
{{- if kindIs "string" . }}
  - name: {{ . }}
{{- else }}
{{- range . }}
  - name: {{ if kindIs "string" . }}{{ . }}{{ else }}{{ .name }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Nobody's root, nothing to write to, nothing to gain. */}}
{{- define "dapr.securityContext" -}}
runAsNonRoot: {{ .Values.runAsNonRoot }}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: ["ALL"]
{{- with .Values.global.seccompProfile }}
seccompProfile:
  type: {{ . }}
{{- end }}
{{- end }}

{{/* Arguments: port, context. */}}
{{- define "dapr.probes" -}}
livenessProbe:
  httpGet:
    path: /healthz
    port: {{ .port }}
{{ toYaml .context.Values.livenessProbe | indent 2 }}
readinessProbe:
  httpGet:
    path: /healthz
    port: {{ .port }}
{{ toYaml .context.Values.readinessProbe | indent 2 }}
{{- end }}

{{- define "dapr.extraEnvironment" -}}
{{- range $name, $value := .Values.extraEnvVars }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* Where a pod runs, and apart from which. Arguments: app, spread (a policy or empty), context. */}}
{{- define "dapr.scheduling" -}}
{{- $global := .context.Values.global -}}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            - key: kubernetes.io/os
              operator: In
              values: [{{ $global.daprControlPlaneOs }}]
            {{- with $global.daprControlPlaneArch }}
            - key: kubernetes.io/arch
              operator: In
              values: [{{ . }}]
            {{- end }}
  {{- with .spread }}
  podAntiAffinity:
    {{- if eq . "preferredDuringSchedulingIgnoredDuringExecution" }}
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          labelSelector:
            matchExpressions: [{key: app, operator: In, values: [{{ $.app }}]}]
          topologyKey: {{ $global.ha.topologyKey }}
    {{- else if eq . "requiredDuringSchedulingIgnoredDuringExecution" }}
    requiredDuringSchedulingIgnoredDuringExecution:
      - labelSelector:
          matchExpressions: [{key: app, operator: In, values: [{{ $.app }}]}]
        topologyKey: {{ $global.ha.topologyKey }}
    {{- else }}
    {{- fail (printf "global.ha.podAntiAffinityPolicy is %q: use preferredDuringSchedulingIgnoredDuringExecution or requiredDuringSchedulingIgnoredDuringExecution" .) }}
    {{- end }}
  {{- end }}
{{- with $global.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $global.nodeSelector }}
nodeSelector:
{{ toYaml . | indent 2 }}
{{- end }}
{{- with $global.tolerations }}
tolerations:
{{ toYaml . | indent 2 }}
{{- end }}
{{- end }}

{{/* The policy by which a Deployment's pods are kept apart; empty for one replica. */}}
{{- define "dapr.deploymentSpread" -}}
{{- if .Values.global.ha.enabled }}preferredDuringSchedulingIgnoredDuringExecution{{ end }}
{{- end }}

{{- define "dapr.replicas" -}}
{{ .Values.global.ha.enabled | ternary .Values.global.ha.replicaCount .Values.replicaCount }}
{{- end }}

{{/* Arguments: name, app, context. */}}
{{- define "dapr.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  namespace: {{ .context.Release.Namespace }}
  labels:
    app: {{ .app }}
    {{- include "dapr.labels" .context | trim | nindent 4 }}
spec:
  {{- with .context.Values.global.ha.disruption }}
  {{- if .minimumAvailable }}
  minAvailable: {{ .minimumAvailable }}
  {{- else }}
  maxUnavailable: {{ .maximumUnavailable }}
  {{- end }}
  {{- end }}
  selector:
    matchLabels:
      app: {{ .app }}
{{- end }}

{{/*
The trust anchors, and the token by which sentry knows the pod. The anchors are named as an item:
the pod starts when sentry has written them, instead of starting without and waiting.
*/}}
{{- define "dapr.trustVolumes" -}}
- name: dapr-trust-bundle
  configMap:
    name: dapr-trust-bundle
    items: [{key: ca.crt, path: ca.crt}]
{{- if .Values.global.mtls.mountSentryVolume }}
- name: dapr-identity-token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 600
          audience: {{ printf "spiffe://%s/ns/%s/dapr-sentry" .Values.global.mtls.controlPlaneTrustDomain .Release.Namespace | quote }}
{{- end }}
{{- end }}

{{- define "dapr.trustMounts" -}}
- name: dapr-trust-bundle
  mountPath: /var/run/secrets/dapr.io/tls
  readOnly: true
{{- if .Values.global.mtls.mountSentryVolume }}
- name: dapr-identity-token
  mountPath: /var/run/secrets/dapr.io/sentrytoken
  readOnly: true
{{- end }}
{{- end }}

{{- define "dapr.sentryAddress" -}}
{{- .Values.global.mtls.sentryAddress | default (printf "dapr-sentry.%s.svc%s:443" .Release.Namespace .Values.global.dnsSuffix) -}}
{{- end }}

{{/* One of the lists in global.<what>.<program>. Arguments: what, program, context. */}}
{{- define "dapr.extra" -}}
{{- with index .context.Values.global .what | default dict }}
{{- with index . $.program }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}
