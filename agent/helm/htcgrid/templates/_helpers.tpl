{{- define "htcgrid.name" -}}
htcgrid-{{ .pool }}
{{- end }}

{{- define "htcgrid.selector" -}}
app.kubernetes.io/name: htcgrid-agent
app.kubernetes.io/instance: {{ .root.Release.Name }}
htcgrid/pool: {{ .pool | quote }}
{{- end }}

{{- define "htcgrid.grid" -}}
{{ regexReplaceAll "^aws://([a-z0-9-]+).*$" .Values.url "${1}" }}
{{- end }}

{{/* By these `htcgrid fleet` finds all that is a grid's; selectors cannot be changed, and go without the grid. */}}
{{- define "htcgrid.labels" -}}
{{ include "htcgrid.selector" . }}
htcgrid/grid: {{ include "htcgrid.grid" .root }}
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

{{/* Refuses slots that the pod has no memory for: the kernel would end the agent, and all that it runs. */}}
{{- define "htcgrid.fitting" -}}
{{- $slots := include "htcgrid.slots" .values | int }}
{{- if .values.sidecars }}{{ $slots = len .values.sidecars }}{{ end }}
{{- $needed := add (mul $slots (int .values.slotMemory)) 512 }}
{{- $memory := .values.memory }}
{{- $mebibytes := 0 }}
{{- if hasSuffix "Gi" $memory }}{{ $mebibytes = mulf (trimSuffix "Gi" $memory | float64) 1024.0 | floor | int }}
{{- else if hasSuffix "Mi" $memory }}{{ $mebibytes = trimSuffix "Mi" $memory | int }}
{{- else if hasSuffix "Ti" $memory }}{{ $mebibytes = mulf (trimSuffix "Ti" $memory | float64) 1048576.0 | floor | int }}
{{- else }}{{ fail (printf "pool %s: with slotMemory, say memory in Mi, Gi or Ti, not %s" .pool $memory) }}
{{- end }}
{{- if lt $mebibytes (int $needed) }}
{{- fail (printf "pool %s: %d slots of %d MiB and the agent need %d MiB, and its pods have %s" .pool $slots (int .values.slotMemory) (int $needed) $memory) }}
{{- end }}
{{- end }}
