{{/* What all pods of the chart share. */}}

{{- define "thinksafe.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ int64 .Values.cluster.security_context.run_as_user }}
runAsGroup: {{ int64 .Values.cluster.security_context.run_as_group }}
fsGroup: {{ int64 .Values.cluster.security_context.run_as_group }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "thinksafe.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "thinksafe.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Credentials of Kubeflow Pipelines for the chart's own pods. */}}
{{- define "thinksafe.kfpEnvironment" -}}
- name: HOME
  value: /tmp
{{- if .Values.kfpToken.secret }}
{{ include "thinksafe.fromSecret" (list "KFP_TOKEN" .Values.kfpToken.secret .Values.kfpToken.key) }}
      # the pod starts without it, and its log says what is missing
      optional: true
{{- end }}
{{- end -}}

{{/* Certificates of the cluster's own authority, at the same path as in the pods of runs. */}}
{{- define "thinksafe.certificates" -}}
{{- with .Values.cluster.certificates -}}
{{- if .config_map -}}/etc/thinksafe/certificates/{{ .key }}{{- end -}}
{{- end -}}
{{- end -}}
{{- define "thinksafe.certificatesEnvironment" -}}
{{- with include "thinksafe.certificates" . }}
{{- $path := . }}
{{- range list "AWS_CA_BUNDLE" "REQUESTS_CA_BUNDLE" "SSL_CERT_FILE" }}
- name: {{ . }}
  value: {{ $path | quote }}
{{- end }}
{{- end }}
{{- end -}}
{{- define "thinksafe.certificatesMount" -}}
{{- if .Values.cluster.certificates.config_map }}
- name: certificates
  mountPath: /etc/thinksafe/certificates
  readOnly: true
{{- end }}
{{- end -}}
{{- define "thinksafe.certificatesVolume" -}}
{{- with .Values.cluster.certificates.config_map }}
- name: certificates
  configMap:
    name: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* A variable from a secret: list of variable, secret and key. */}}
{{- define "thinksafe.fromSecret" -}}
- name: {{ index . 0 | quote }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 | quote }}
      key: {{ index . 2 | quote }}
{{- end -}}

{{/*
Environment of the doctor's checks: S3, MLflow and the hub, with the credentials of runs and their ConfigMaps (a proxy).
All are optional, so that the pod starts even if one is missing, and the doctor reports which.
*/}}
{{- define "thinksafe.doctorEnvironment" -}}
{{- $found := list (include "thinksafe.s3Environment" .) (include "thinksafe.mlflowEnvironment" .) (include "thinksafe.hubEnvironment" .) -}}
{{- range $found | join "\n" | fromYamlArray }}
{{- if .valueFrom }}{{ $_ := set .valueFrom.secretKeyRef "optional" true }}{{ end }}
{{ list . | toYaml }}
{{- end }}
{{- include "thinksafe.configMapEnvironment" . }}
{{- end -}}

{{/* Variables from the ConfigMaps of runs, such as a proxy. */}}
{{- define "thinksafe.configMapEnvironment" -}}
{{- range $source := .Values.cluster.config_maps }}
{{- range $key, $variable := $source.keys }}
- name: {{ $variable | quote }}
  valueFrom:
    configMapKeyRef:
      name: {{ $source.name | quote }}
      key: {{ $key | quote }}
      optional: true
{{- end }}
{{- end }}
{{- end -}}

{{/* S3 as boto3 finds it. */}}
{{- define "thinksafe.s3Environment" -}}
{{- $s3 := .Values.cluster.s3 }}
- name: AWS_REGION
  value: {{ $s3.region | quote }}
{{- if $s3.endpoint }}
- name: AWS_ENDPOINT_URL
  value: {{ $s3.endpoint | quote }}
{{- end }}
{{- if $s3.secret.name }}
{{ include "thinksafe.fromSecret" (list "AWS_ACCESS_KEY_ID" $s3.secret.name $s3.secret.access_key_id) }}
{{ include "thinksafe.fromSecret" (list "AWS_SECRET_ACCESS_KEY" $s3.secret.name $s3.secret.secret_access_key) }}
{{- if $s3.secret.session_token }}
{{ include "thinksafe.fromSecret" (list "AWS_SESSION_TOKEN" $s3.secret.name $s3.secret.session_token) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* MLflow as its client finds it. */}}
{{- define "thinksafe.mlflowEnvironment" -}}
{{- $secret := .Values.cluster.mlflow.secret }}
- name: MLFLOW_TRACKING_URI
  value: {{ include "thinksafe.mlflowUri" . | quote }}
{{- if $secret.token }}
{{ include "thinksafe.fromSecret" (list "MLFLOW_TRACKING_TOKEN" $secret.name $secret.token) }}
{{- end }}
{{- if $secret.username }}
{{ include "thinksafe.fromSecret" (list "MLFLOW_TRACKING_USERNAME" $secret.name $secret.username) }}
{{ include "thinksafe.fromSecret" (list "MLFLOW_TRACKING_PASSWORD" $secret.name $secret.password) }}
{{- end }}
{{- end -}}

{{/* The hub as its client finds it. */}}
{{- define "thinksafe.hubEnvironment" -}}
{{- $hub := .Values.cluster.hub }}
{{- if $hub.endpoint }}
- name: HF_ENDPOINT
  value: {{ $hub.endpoint | quote }}
{{- end }}
{{- if $hub.secret }}
{{ include "thinksafe.fromSecret" (list "HF_TOKEN" $hub.secret $hub.secret_key) }}
{{- end }}
{{- end -}}

{{/* Pod spec of the publisher: dict of root, name, arguments, environment (text). Without restarts: logs stay. */}}
{{- define "thinksafe.publisher" -}}
{{- $root := .root -}}
serviceAccountName: {{ include "thinksafe.account" (list $root "publisher") | quote }}
automountServiceAccountToken: true
enableServiceLinks: false
restartPolicy: Never
{{- include "thinksafe.pullSecrets" $root }}
securityContext:
  {{- include "thinksafe.podSecurity" $root | nindent 2 }}
{{- with $root.Values.hooks.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.hooks.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: {{ .name }}
    image: {{ include "thinksafe.pulled" (list $root "cpu") | quote }}
    imagePullPolicy: {{ $root.Values.images.pullPolicy }}
    command: [thinksafe]
    args: {{ .arguments | toJson }}
    env:
      {{- include "thinksafe.kfpEnvironment" $root | nindent 6 }}
      {{- include "thinksafe.certificatesEnvironment" $root | nindent 6 }}
      {{- with .environment }}
      {{- . | nindent 6 }}
      {{- end }}
    securityContext:
      {{- include "thinksafe.containerSecurity" $root | nindent 6 }}
    resources:
      {{- toYaml $root.Values.hooks.resources | nindent 6 }}
    volumeMounts:
      - name: config
        mountPath: /etc/thinksafe/config.yaml
        subPath: config.yaml
        readOnly: true
      - name: kfp-token
        mountPath: /var/run/secrets/kubeflow/pipelines
        readOnly: true
      {{- include "thinksafe.certificatesMount" $root | nindent 6 }}
      - name: tmp
        mountPath: /tmp
volumes:
  - name: config
    configMap:
      name: {{ include "thinksafe.fullname" $root }}-config
  # the token that Kubeflow's client looks for in a pod
  - name: kfp-token
    projected:
      sources:
        - serviceAccountToken:
            path: token
            audience: pipelines.kubeflow.org
            expirationSeconds: 7200
  {{- with include "thinksafe.certificatesVolume" $root }}
  {{- . | nindent 2 }}
      # as with the token
      optional: true
  {{- end }}
  - name: tmp
    emptyDir:
      sizeLimit: 1Gi
{{- end -}}

{{/* Metadata of a pod of the publisher. In an Istio mesh a sidecar would keep a job from ever ending. */}}
{{- define "thinksafe.publisherLabels" -}}
{{- $own := include "thinksafe.labels" (list . "publisher") | fromYaml -}}
{{- $_ := set $own "sidecar.istio.io/inject" "false" -}}
{{- $own | toYaml -}}
{{- end -}}

{{/*
Spec of a job of the publisher: dict of root, name, arguments, environment (text). Wrong input (exit code 2) ends it at the
first attempt. What nobody deletes is gone after a day.
*/}}
{{- define "thinksafe.hookJob" -}}
{{- $root := .root -}}
backoffLimit: {{ int $root.Values.hooks.backoffLimit }}
activeDeadlineSeconds: {{ int $root.Values.hooks.deadlineSeconds }}
ttlSecondsAfterFinished: 86400
podFailurePolicy:
  rules:
    - action: FailJob
      onExitCodes:
        containerName: {{ .name }}
        operator: In
        values: [2]
template:
  metadata:
    labels:
      {{- include "thinksafe.publisherLabels" $root | nindent 6 }}
    {{- with $root.Values.hooks.annotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    {{- include "thinksafe.publisher" (dict "root" $root "name" .name "arguments" .arguments "environment" .environment) | nindent 4 }}
{{- end -}}
