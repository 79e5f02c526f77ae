{{/* Whether sidecars are told of a scheduler: one of the user's, there is none of ours. */}}
{{- define "dapr.hasScheduler" -}}
{{- if and .Values.global.scheduler.enabled .Values.global.scheduler.externalName }}yes{{ else }}no{{ end -}}
{{- end }}

{{/* Where a service of sidecars' is that is not placement. Arguments: what (actors or reminders), context. */}}
{{- define "dapr.serviceAddress" -}}
{{- $service := index .context.Values.global .what -}}
{{- if eq $service.serviceName "placement" -}}
dapr-placement-server:50005
{{- else -}}
{{- $service.serviceAddress | default (printf "%s:50005" $service.serviceName) -}}
{{- end -}}
{{- end }}
