{{/* Names, labels and images. */}}

{{/*
Prefix of the names of all objects. The name of a Service has no dots, does not start with a digit, and has at most 63
characters with its suffix (-unschedule is the longest). A shortened name ends in a digest of the whole name, so that two
long names stay different.
*/}}
{{- define "thinksafe.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := .Values.fullnameOverride -}}
{{- if not $full -}}
{{- $full = contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- end -}}
{{- $full = $full | replace "." "-" -}}
{{- if regexMatch "^[0-9]" $full -}}
{{- $full = printf "r-%s" $full -}}
{{- end -}}
{{- if gt (len $full) 52 -}}
{{- $full = printf "%s-%s" ($full | trunc 43 | trimAll "-") (sha256sum $full | trunc 8) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{/* The same for a CronJob, whose name has at most 52 characters with its suffix, since those of its jobs are longer. */}}
{{- define "thinksafe.shortname" -}}
{{- $full := include "thinksafe.fullname" . -}}
{{- if gt (len $full) 42 -}}
{{- $full = printf "%s-%s" ($full | trunc 33 | trimAll "-") (sha256sum $full | trunc 8) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{/* Labels that select the pods of a component: list of root and component. */}}
{{- define "thinksafe.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 | quote }}
{{- end -}}

{{/* Labels of an object of a component: list of root and component. The chart's own win over extraLabels. */}}
{{- define "thinksafe.labels" -}}
{{- $root := index . 0 -}}
{{- $own := include "thinksafe.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "thinksafe" -}}
{{- $_ := set $own "app.kubernetes.io/version" ($root.Chart.AppVersion | replace "+" "_") -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- merge $own $root.Values.extraLabels | toYaml -}}
{{- end -}}

{{/* Labels that select the pods of runs; each has its stage as component. */}}
{{- define "thinksafe.runSelector" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
thinksafe/pods: runs
{{- end -}}

{{/* Labels of the pods of runs. No versions in them: they are compiled into the pipeline. */}}
{{- define "thinksafe.runLabels" -}}
{{- $own := include "thinksafe.runSelector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "thinksafe" -}}
{{- merge $own .Values.cluster.labels .Values.extraLabels | toYaml -}}
{{- end -}}

{{/* Name of a service account: list of root and account. */}}
{{- define "thinksafe.account" -}}
{{- $root := index . 0 -}}
{{- $account := index $root.Values.serviceAccounts (index . 1) -}}
{{- if $account.create -}}
{{- default (printf "%s-%s" (include "thinksafe.fullname" $root) (index . 1)) $account.name -}}
{{- else -}}
{{- required (printf "serviceAccounts.%s.create is false and its name is empty: name the account that exists." (index . 1)) $account.name -}}
{{- end -}}
{{- end -}}

{{/* The accounts that the chart creates. */}}
{{- define "thinksafe.accounts" -}}
{{- $used := dict "pipeline" true "publisher" true "rollout" (ne (include "thinksafe.deployKind" .) "") "fleet" .Values.fleet.enabled "mlflow" .Values.mlflow.enabled -}}
{{- $made := list -}}
{{- range $name := list "pipeline" "publisher" "rollout" "fleet" "mlflow" -}}
{{- if and (index $used $name) (index $.Values.serviceAccounts $name).create -}}{{- $made = append $made $name -}}{{- end -}}
{{- end -}}
{{- $made | toJson -}}
{{- end -}}

{{/* An image as written into the config: list of root and the key below images. */}}
{{- define "thinksafe.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
{{- $tag := default $root.Chart.AppVersion $image.tag -}}
{{- if and $image.digest (not $image.tag) -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else if $image.digest -}}
{{- printf "%s:%s@%s" $image.repository $tag $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository $tag -}}
{{- end -}}
{{- end -}}

{{/* The same image for the chart's own pods, from the mirror if there is one (ClusterSettings.image does so for runs). */}}
{{- define "thinksafe.pulled" -}}
{{- $root := index . 0 -}}
{{- $image := include "thinksafe.image" . -}}
{{- $mirror := $root.Values.cluster.mirrors.images -}}
{{- if $mirror -}}
{{- $first := index (splitList "/" $image) 0 -}}
{{- if and (contains "/" $image) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) -}}
{{- printf "%s/%s" $mirror ($image | trimPrefix (printf "%s/" $first)) -}}
{{- else -}}
{{- printf "%s/%s" $mirror $image -}}
{{- end -}}
{{- else -}}
{{- $image -}}
{{- end -}}
{{- end -}}

{{/* Claim that the chart makes for the bundled MLflow; empty for none. */}}
{{- define "thinksafe.mlflowClaim" -}}
{{- with .Values.mlflow -}}
{{- if and .enabled (not .persistence.existingClaim) (not (and .postgresql.secret .artifacts)) -}}
{{- printf "%s-mlflow" (include "thinksafe.fullname" $) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Address of MLflow as seen from pods. */}}
{{- define "thinksafe.mlflowHost" -}}
{{- printf "%s-mlflow.%s.svc" (include "thinksafe.fullname" .) .Release.Namespace -}}
{{- end -}}
{{- define "thinksafe.mlflowUri" -}}
{{- if .Values.mlflow.enabled -}}
{{- printf "http://%s:5000" (include "thinksafe.mlflowHost" .) -}}
{{- else -}}
{{- .Values.cluster.mlflow.uri -}}
{{- end -}}
{{- end -}}
