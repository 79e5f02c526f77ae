{{/* A service account. Arguments: program, context. */}}
{{- define "dapr.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: dapr-{{ .program }}
  namespace: {{ .context.Release.Namespace }}
  labels:
    {{- include "dapr.labels" .context | trim | nindent 4 }}
  {{- with (index .context.Values.serviceAccount .program).annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/*
A role and its binding to a program's account. Arguments: name, program, rules (YAML), cluster
(whether it counts everywhere), context.
*/}}
{{- define "dapr.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .cluster | ternary "ClusterRole" "Role" }}
metadata:
  name: {{ .name }}
  {{- if not .cluster }}
  namespace: {{ .context.Release.Namespace }}
  {{- end }}
  labels:
    {{- include "dapr.labels" .context | trim | nindent 4 }}
rules:
  {{- .rules | trim | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .cluster | ternary "ClusterRoleBinding" "RoleBinding" }}
metadata:
  name: {{ .name }}
  {{- if not .cluster }}
  namespace: {{ .context.Release.Namespace }}
  {{- end }}
  labels:
    {{- include "dapr.labels" .context | trim | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .cluster | ternary "ClusterRole" "Role" }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: dapr-{{ .program }}
    namespace: {{ .context.Release.Namespace }}
{{- end }}
