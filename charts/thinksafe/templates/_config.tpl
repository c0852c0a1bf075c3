{{/* The config document, and checks of the values. */}}

{{- define "thinksafe.config" -}}
{{- $cluster := deepCopy .Values.cluster -}}
{{- $images := dict -}}
{{- range list "cpu" "sampler" "trainer" -}}
{{- $_ := set $images . (include "thinksafe.image" (list $ .)) -}}
{{- end -}}
{{- $_ := set $cluster "images" $images -}}
{{- $_ := set $cluster "namespace" .Release.Namespace -}}
{{- $_ := set $cluster "service_account" (include "thinksafe.account" (list . "pipeline")) -}}
{{- $_ := set $cluster "image_pull_policy" .Values.images.pullPolicy -}}
{{- $_ := set $cluster "image_pull_secrets" .Values.images.pullSecrets -}}
{{- $_ := set $cluster "labels" (include "thinksafe.runLabels" . | fromYaml) -}}
{{- $_ := set $cluster.mlflow "uri" (include "thinksafe.mlflowUri" .) -}}
{{- if and $cluster.certificates.config_map (not $cluster.kfp.ca_file) -}}
{{- $_ := set $cluster.kfp "ca_file" (include "thinksafe.certificates" .) -}}
{{- end -}}
{{- merge (dict "cluster" $cluster) (deepCopy .Values.config) | toPrettyJson -}}
{{- end -}}

{{/* Refuses what the schema cannot check, and says what to do. */}}
{{- define "thinksafe.check" -}}
{{- $values := .Values -}}
{{- $wrong := list -}}
{{- if not $values.config -}}
{{- $wrong = append $wrong "config is empty: give the recipe document, e.g. config: {extends: qwen3-8b, name: our-model, ...}" -}}
{{- else if hasKey $values.config "cluster" -}}
{{- $wrong = append $wrong "config.cluster: the chart writes this section; move it to the value `cluster`" -}}
{{- end -}}
{{- if not $values.cluster.store -}}
{{- $wrong = append $wrong "cluster.store is empty: give the store root, s3://bucket/prefix" -}}
{{- end -}}
{{- range list "cpu" "sampler" "trainer" -}}
{{- $image := index $values.images . -}}
{{- if not $image.repository -}}
{{- $wrong = append $wrong (printf "images.%s.repository is empty: build the images (images/README.md), push them to your registry and name it" .) -}}
{{- end -}}
{{- if eq $image.tag "latest" -}}
{{- $wrong = append $wrong (printf "images.%s.tag is latest, which says nothing: give a version or, better, a digest" .) -}}
{{- end -}}
{{- end -}}
{{- if and $values.mlflow.enabled $values.cluster.mlflow.uri -}}
{{- $wrong = append $wrong "mlflow.enabled is on and cluster.mlflow.uri names a server: choose one" -}}
{{- else if not (or $values.mlflow.enabled $values.cluster.mlflow.uri) -}}
{{- $wrong = append $wrong "cluster.mlflow.uri is empty: name your MLflow server, or set mlflow.enabled for a trial" -}}
{{- end -}}
{{- if and $values.mlflow.enabled $values.cluster.mlflow.secret.name -}}
{{- $wrong = append $wrong "cluster.mlflow.secret.name: the bundled MLflow asks for no credentials; leave it empty" -}}
{{- end -}}
{{- with $values.cluster.mlflow.secret -}}
{{- if and .name (eq (empty .token) (empty .username)) -}}
{{- $wrong = append $wrong "cluster.mlflow.secret: give the keys of that secret that hold the credentials: token, or username and password" -}}
{{- end -}}
{{- if ne (empty .username) (empty .password) -}}
{{- $wrong = append $wrong "cluster.mlflow.secret: username and password go together" -}}
{{- end -}}
{{- if and (not .name) (or .token .username .password) -}}
{{- $wrong = append $wrong "cluster.mlflow.secret.name is empty, and keys of it are given: name the secret" -}}
{{- end -}}
{{- end -}}
{{- with $values.cluster.kfp -}}
{{- if and (ne .access "token") $values.kfpToken.secret -}}
{{- $wrong = append $wrong (printf "kfpToken.secret is set and cluster.kfp.access is %s, which takes no token from it: set cluster.kfp.access to token" .access) -}}
{{- end -}}
{{- if and .token_file $values.kfpToken.secret -}}
{{- $wrong = append $wrong "kfpToken.secret and cluster.kfp.token_file are both set: choose one" -}}
{{- end -}}
{{- if eq .access "port-forward" -}}
{{- $wrong = append $wrong "cluster.kfp.access is port-forward, which works from a workstation only: use in-cluster or token" -}}
{{- end -}}
{{- if and (eq .access "token") (not $values.kfpToken.secret) (not .token_file) -}}
{{- $wrong = append $wrong "cluster.kfp.access is token: name the secret that holds it in kfpToken.secret" -}}
{{- end -}}
{{- if and (not .multi_user) (not .host) (ne .namespace $.Release.Namespace) -}}
{{- $wrong = append $wrong (printf "without cluster.kfp.multi_user Kubeflow Pipelines starts its pods in its own namespace, %s, and this release goes to %s: install with --namespace %s, or correct cluster.kfp.namespace" .namespace $.Release.Namespace .namespace) -}}
{{- end -}}
{{- end -}}
{{- range $name, $address := dict "cluster.kfp.host" $values.cluster.kfp.host "cluster.mlflow.uri" $values.cluster.mlflow.uri "cluster.s3.endpoint" $values.cluster.s3.endpoint "cluster.hub.endpoint" $values.cluster.hub.endpoint -}}
{{- if contains "@" $address -}}
{{- $wrong = append $wrong (printf "%s holds a user or password, which would be readable by all who may read ConfigMaps: name a secret" $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $text := $values.cluster.annotations -}}
{{- if regexMatch "[{]{2}|[$][$(]" $text -}}
{{- $wrong = append $wrong (printf "cluster.annotations: %s holds a placeholder (two braces, $( or $$), which Kubeflow Pipelines would fill in: write it without" $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $cron := dict "cluster.schedule.cron" $values.cluster.schedule.cron "cluster.schedule.evaluate.cron" $values.cluster.schedule.evaluate.cron "cluster.schedule.compare.cron" $values.cluster.schedule.compare.cron -}}
{{- $fields := regexSplit "\\s+" (trim $cron) -1 -}}
{{- if ne (len $fields) 6 -}}
{{- $wrong = append $wrong (printf "%s has %d fields; Kubeflow's has six, seconds first, e.g. 0 0 3 * * 0 for Sundays at three" $name (len $fields)) -}}
{{- else if regexMatch "(^|[,-])7" (index $fields 5) -}}
{{- $wrong = append $wrong (printf "%s: the day of the week goes from 0, Sunday, to 6; Kubeflow takes no 7" $name) -}}
{{- else -}}
{{- range $fields -}}
{{- if not (regexMatch "^[0-9A-Za-z*?/,-]+$" .) -}}
{{- $wrong = append $wrong (printf "%s: %q is no field of a cron: write *, a number, a name like MON, 1-5, */10 or a list of these" $name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $values.cluster.model_cache.kind "claim") (not $values.cluster.model_cache.claim) -}}
{{- $wrong = append $wrong "cluster.model_cache.kind is claim: name the PersistentVolumeClaim in cluster.model_cache.claim" -}}
{{- end -}}
{{- if and (ne $values.cluster.model_cache.kind "claim") $values.cluster.model_cache.claim -}}
{{- $wrong = append $wrong (printf "cluster.model_cache.claim is set and kind is %s: set cluster.model_cache.kind to claim" $values.cluster.model_cache.kind) -}}
{{- end -}}
{{- $accounts := dict -}}
{{- range $name := include "thinksafe.accounts" . | fromJsonArray -}}
{{- $account := include "thinksafe.account" (list $ $name) -}}
{{- if hasKey $accounts $account -}}
{{- $wrong = append $wrong (printf "serviceAccounts: %s and %s would both make the account %s: give each a name of its own, or leave the names empty" (get $accounts $account) $name $account) -}}
{{- end -}}
{{- $_ := set $accounts $account $name -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n\nThe values of thinksafe need a correction:\n  - %s\n" (join "\n  - " $wrong)) -}}
{{- end -}}
{{/* unescaped in a block scalar, these would end a line or the document; JSON escapes the rest */}}
{{- if regexMatch "://[^/\\s\"@:]*:[^/\\s\"@]+@" (include "thinksafe.config" .) -}}
{{- fail "\n\nThe values of thinksafe need a correction:\n  - config or cluster holds an address with a password, which would be readable by all who may read ConfigMaps: name a secret\n" -}}
{{- end -}}
{{- if contains "PRIVATE KEY" (include "thinksafe.config" .) -}}
{{- fail "\n\nThe values of thinksafe need a correction:\n  - config holds a private key, which is readable by all who may read ConfigMaps: make a new one, put it into a secret, and name that in config.sign.secret\n" -}}
{{- end -}}
{{- if regexMatch "[\\x{7f}-\\x{9f}\\x{feff}\\x{fffe}\\x{ffff}]" (include "thinksafe.config" .) -}}
{{- fail "\n\nThe values of thinksafe need a correction:\n  - config or cluster holds a control character (U+007F to U+009F, U+FEFF, U+FFFE or U+FFFF): remove it\n" -}}
{{- end -}}
{{- end -}}
