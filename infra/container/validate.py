"""Validates the example manifests beside this file: `cargo x check manifests` calls it in an environment with its packages.

Kubernetes: the JSON schemas of the API server, strictly, so that an unknown key is an error. ECS: the models that AWS's own
clients check requests by.
"""

import json
import pathlib
import sys

import kubernetes_validate
import yaml
from botocore.session import Session
from botocore.validate import ParamValidator

KUBERNETES = "1.30"
REQUESTS = {
    "task-definition.json": ("ecs", "RegisterTaskDefinition"),
    "service-definition.json": ("ecs", "RegisterTaskDefinition"),
    "schedule.json": ("scheduler", "CreateSchedule"),
}


def kubernetes(folder):
    for path in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            try:
                kubernetes_validate.validate(document, KUBERNETES, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{path.name}: {'.'.join(map(str, error.path))}: {error.message}"


def ecs(folder):
    session = Session()
    for path in sorted(folder.glob("*.json")):
        if path.name not in REQUESTS:
            yield f"{path.name}: nobody says what it is: add it to REQUESTS"
            continue
        service, operation = REQUESTS[path.name]
        shape = session.get_service_model(service).operation_model(operation).input_shape
        report = ParamValidator().validate(json.loads(path.read_text()), shape)
        if report.has_errors():
            yield f"{path.name}: {report.generate_report()}"


def main():
    folder = pathlib.Path(__file__).parent
    findings = [*kubernetes(folder / "kubernetes"), *ecs(folder / "ecs")]
    sys.exit("\n".join(findings) or 0)


main()
