"""Checks the manifests of a variant: each object against the schema of Kubernetes, and the names that they share.

packages.py MANIFESTS RULES    writes the alert rules among them to RULES, for promtool"""
import sys

import kubernetes_validate
import yaml

OPERATOR = "monitoring.coreos.com/v1"  # kinds of the Prometheus operator, which Kubernetes has no schema for

with open(sys.argv[1]) as file:
    objects = [one for one in yaml.safe_load_all(file) if one]
kinds = {}
for one in objects:
    kinds.setdefault(one["kind"], []).append(one)
    assert one["metadata"]["namespace"] == "monitoring", one["metadata"]
    if one["apiVersion"] != OPERATOR:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)

needed = {"Deployment", "Service", "ServiceMonitor", "PrometheusRule", "ConfigMap"}
needed.add("PersistentVolumeClaim" if "sqlite" in sys.argv[1] else "PodDisruptionBudget")
assert set(kinds) == needed, sorted(kinds)

pod = kinds["Deployment"][0]["spec"]["template"]
(container,) = pod["spec"]["containers"]
volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
mounts = {mount["name"] for mount in container["volumeMounts"]}
assert volumes == mounts, (volumes, mounts)
maps = {one["metadata"]["name"] for one in kinds["ConfigMap"]}
for volume in pod["spec"]["volumes"]:
    if "configMap" in volume:
        assert volume["configMap"]["name"] in maps, volume
    if "persistentVolumeClaim" in volume:
        claims = [one["metadata"]["name"] for one in kinds["PersistentVolumeClaim"]]
        assert volume["persistentVolumeClaim"]["claimName"] in claims, volume
labels = pod["metadata"]["labels"].items()
for selecting in (kinds["Service"][0]["spec"]["selector"], kinds["Deployment"][0]["spec"]["selector"]["matchLabels"]):
    assert selecting.items() <= labels, selecting
service = kinds["Service"][0]
port = service["spec"]["ports"][0]
assert port["targetPort"] in [one["name"] for one in container["ports"]], port
assert kinds["ServiceMonitor"][0]["spec"]["endpoints"][0]["port"] == port["name"]
assert kinds["ServiceMonitor"][0]["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
# The alert rules select by this job, and the operator names a job after the Service.
assert service["metadata"]["name"] == "squelch"

with open(sys.argv[2], "w") as file:
    yaml.safe_dump(kinds["PrometheusRule"][0]["spec"], file)
print(f"{sys.argv[1].rsplit('/', 1)[-1]}: {len(objects)} objects are valid")
