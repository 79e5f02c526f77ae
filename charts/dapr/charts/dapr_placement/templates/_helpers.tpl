{{/* Placement is installed while actors use it. */}}
{{- define "dapr.hasPlacement" -}}
{{- if and .Values.global.actors.enabled (eq .Values.global.actors.serviceName "placement") }}yes{{ end -}}
{{- end }}

{{- define "dapr.placementIsMany" -}}
{{- if or .Values.global.ha.enabled .Values.ha }}yes{{ end -}}
{{- end }}
