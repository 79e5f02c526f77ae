{{/* Made by an uninstall only, and gone after it. The argument is the order. */}}
{{- define "dapr.cleanupHook" -}}
helm.sh/hook: post-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
