{{/* The command that starts a run from a workstation, by the way that leads from there to Kubeflow's API. */}}
{{- define "thinksafe.submit" -}}
{{- $kfp := .Values.cluster.kfp -}}
{{- $name := regexReplaceAll "^[a-z]+://([^/:]+).*$" $kfp.host "${1}" -}}
{{- $outside := and $name (contains "." $name) (not (hasPrefix "ml-pipeline." $name)) (not (regexMatch "[.]svc([.]|$)" $name)) -}}
{{- $config := printf "kubectl get configmap %s-config --namespace %s -o jsonpath='{.data.config\\.yaml}' > config.yaml" (include "thinksafe.fullname" .) .Release.Namespace -}}
{{- $options := list -}}
{{- $token := "" -}}
{{- if or $kfp.multi_user (and $outside (eq $kfp.access "token")) -}}
{{- $token = printf "KFP_TOKEN=$(kubectl create token %s --namespace %s --audience pipelines.kubeflow.org) " (include "thinksafe.account" (list . "publisher")) .Release.Namespace -}}
{{- with .Values.kfpToken -}}
{{- if .secret -}}
{{- $token = printf "KFP_TOKEN=$(kubectl get secret %s --namespace %s -o jsonpath='{.data.%s}' | base64 -d) " .secret $.Release.Namespace (replace "." "\\." .key) -}}
{{- end -}}
{{- end -}}
{{- if ne $kfp.access "token" -}}
{{- $options = append $options "--set cluster.kfp.access=token" -}}
{{- end -}}
{{- else if not $outside -}}
{{- $options = append $options "--set cluster.kfp.access=port-forward" -}}
{{- end -}}
{{- if not $outside -}}
{{- if $kfp.multi_user -}}
{{- $options = append $options "--set cluster.kfp.host=http://localhost:8888" -}}
{{- else if $kfp.host -}}
{{- $options = append $options "--set \"cluster.kfp.host=''\"" -}}
{{- end -}}
{{- if or $kfp.ca_file (include "thinksafe.certificates" .) -}}
{{- $options = append $options "--set \"cluster.kfp.ca_file=''\"" -}}
{{- end -}}
{{- else if and (include "thinksafe.certificates" .) (not $kfp.ca_file) -}}
{{- with .Values.cluster.certificates -}}
{{- $config = printf "%s &&\nkubectl get configmap %s --namespace %s -o jsonpath='{.data.%s}' > authority.pem" $config .config_map $.Release.Namespace (replace "." "\\." .key) -}}
{{- end -}}
{{- $options = append $options "--set cluster.kfp.ca_file=authority.pem" -}}
{{- end -}}
{{- if $kfp.token_file -}}
{{- $options = append $options "--set \"cluster.kfp.token_file=''\"" -}}
{{- end -}}
{{- $submit := join " " (prepend $options (printf "%sthinksafe submit config.yaml" $token)) -}}
{{- if and $kfp.multi_user (not $outside) -}}
{{- $submit = printf "(kubectl port-forward service/ml-pipeline 8888:8888 --namespace %s & trap \"kill $!\" EXIT; sleep 3; %s)" $kfp.namespace $submit -}}
{{- end -}}
{{ $config }} &&
{{ $submit }}
{{- end -}}
