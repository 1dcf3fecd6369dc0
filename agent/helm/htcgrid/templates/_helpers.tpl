{{- define "htcgrid.name" -}}
htcgrid-{{ .pool }}
{{- end }}

{{- define "htcgrid.selector" -}}
app.kubernetes.io/name: htcgrid-agent
app.kubernetes.io/instance: {{ .root.Release.Name }}
htcgrid/pool: {{ .pool | quote }}
{{- end }}

{{- define "htcgrid.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* What a pod gets to end: the agent's grace, and ten seconds to hand back and say so. */}}
{{- define "htcgrid.podGrace" -}}
{{ add .Values.drainGraceSeconds 15 }}
{{- end }}

{{/* A node must not go before its pods. */}}
{{- define "htcgrid.nodeGrace" -}}
{{ add .Values.drainGraceSeconds 60 }}s
{{- end }}

{{/* A quota in whole cores, as the agent itself reads it from its cgroup. */}}
{{- define "htcgrid.slots" -}}
{{- if .slots }}{{ .slots }}{{ else if hasSuffix "m" .cpu }}{{ max 1 (div (trimSuffix "m" .cpu | int) 1000) }}{{ else }}{{ max 1 (.cpu | float64 | floor | int) }}{{ end -}}
{{- end }}
