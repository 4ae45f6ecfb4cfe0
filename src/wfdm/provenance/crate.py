"""A study, or what one file comes from, as a Workflow Run RO-Crate (Provenance Run Crate 0.5).

Every record is an action: the stage that ran, what it read and made, when, with which versions. The
crate holds tables, figures, records, the configuration and the workflow; volumes, latents and
weights are named with size and sha256, not copied. Nothing is copied from outside the results root
and the folder of the workflow.
"""

import mimetypes
import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from wfdm import __version__
from wfdm.errors import UserError
from wfdm.provenance.audit import Findings
from wfdm.provenance.index import Record
from wfdm.provenance.roots import STUDY, Root

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
WORKFLOW_PROFILE = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
TERMS = {  # of https://w3id.org/ro/terms/workflow-run/context, so that no second context is fetched
    name: f"https://w3id.org/ro/terms/workflow-run#{name}" for name in ("environment", "sha256")
}
COPIED = ("tables", "figures")  # folders of the root whose results the crate holds
WORKFLOW = ("workflow/rules/*.smk", "envs/constraints.txt", "LICENSE")  # beside the Snakefile
UNSTATED = "Not stated: ask the people who ran this study. The workflow itself is under MIT."


class _Builder:
    """Fills a crate from what an audit found."""

    def __init__(self, found: Findings, root: Root, licence: str | None) -> None:
        self.found, self.root = found, root
        self.crate = ROCrate(version="1.1")
        self.crate.metadata.extra_terms.update(TERMS)
        self.files: dict[str, Entity] = {}
        self.tools: dict[str, Entity] = {}
        self._describe(licence)

    def _describe(self, licence: str | None) -> None:
        crate, study = self.crate, os.path.basename(self.root.name)
        crate.name = f"WFDM study: {study}"
        crate.description = (
            f"Tables, figures and provenance of {self.root.name}, made by the WFDM workflow "
            f"{__version__}; every digest was verified. Chain: sha256 {self.found.chain}"
        )
        words = {"name": licence} if licence else {"name": "Not stated", "description": UNSTATED}
        crate.license = self._entity(licence or "#licence", "CreativeWork", **words)
        crate.root_dataset["conformsTo"] = [
            self._entity(url, "CreativeWork", name=name, version=url.rpartition("/")[2])
            for url, name in PROFILES.items()
        ]

    def _entity(self, identifier: str, kind: str, **properties: Any) -> Entity:
        known = self.crate.get(identifier)
        content = {"@type": kind, **properties}
        return known or self.crate.add(ContextEntity(self.crate, identifier, properties=content))

    def add_workflow(self) -> Entity:
        """Add the Snakefile as the main workflow, and what belongs to it."""
        start = Path(self.root.start)
        main = start / "Snakefile"
        if not main.is_file():
            raise UserError(f"crate: {main} is missing: it is the workflow that the crate tells of")
        properties = {
            "name": "WFDM",
            "version": __version__,
            "conformsTo": {"@id": WORKFLOW_PROFILE},
        }
        workflow = self.crate.add_workflow(
            main, "Snakefile", properties=properties, main=True, lang="snakemake"
        )
        for path in sorted(each for pattern in WORKFLOW for each in start.glob(pattern)):
            if path.resolve().is_relative_to(start):
                name = path.relative_to(start).as_posix()
                self.crate.add_file(path, name, properties=_format(name))
        return workflow

    def file(self, path: str) -> Entity:
        """Return the entity of a resolved path: a file of the crate, or the name of one."""
        if path not in self.files:
            name = _inside(self.root.told(path))
            sha = self.found.artefacts.get(path) or self.found.sources.get(path)
            known = {"name": name, "contentSize": str(os.path.getsize(path)), **_format(name)}
            known |= {"sha256": sha} if sha else {}
            if self._is_copied(path):
                entity = self.crate.add_file(path, name, properties=known)
            else:
                taken = self.crate.get(f"#{quote(name)}") is not None  # of ../x and x, the second
                mark = f"-{len(self.files)}" if taken else ""
                entity = self._entity(f"#{quote(name)}{mark}", "File", **known)
            self.files[path] = entity
        return self.files[path]

    def _files(self, paths: Iterable[str]) -> Any:
        """Return the entities of some files; of one file, no list."""
        found = [self.file(path) for path in paths]
        return found[0] if len(found) == 1 else found

    def _is_copied(self, path: str) -> bool:
        inner = path[len(self.root.path) + 1 :].split(os.sep)
        named = inner[0] in COPIED or inner == [STUDY] or path in self.found.records
        return self.root.holds(path) and named

    def add_actions(self) -> list[Entity]:
        """Add an action for every record."""
        return [self._action(record) for _, record in sorted(self.found.records.items())]

    def _action(self, record: Record) -> Entity:
        told = record.content
        began, ended = _times(record)
        name = self.root.told(record.main)
        properties = {
            "@type": "CreateAction",
            "name": f"{told['stage']}: {name}",
            "description": f"Made by stage {told['stage']} on {told['device']}, seed "
            f"{told.get('seed')}, code {told['code'] or 'none'}",
            **_span(began, ended),
        }
        action = self.crate.add_action(
            self._tool(told["stage"]),
            f"#action-{quote(_inside(self.root.told(record.path)))}",
            object=self._files(record.inputs),
            result=self._files(record.outputs),
            properties=properties,
        )
        action["subjectOf"] = self.file(record.path)
        action["environment"] = [
            self._entity(
                f"#environment-{quote(f'{package}-{version}')}",
                "PropertyValue",
                name=package,
                value=str(version),
            )
            for package, version in sorted(told["environment"].items())
        ]
        return action

    def _tool(self, stage: str) -> Entity:
        if stage not in self.tools:
            self.tools[stage] = self._entity(
                f"#wfdm-{quote(stage)}",
                "SoftwareApplication",
                name=f"wfdm {stage}",
                softwareVersion=__version__,
            )
        return self.tools[stage]

    def add_run(self, workflow: Entity, actions: list[Entity]) -> Entity:
        """Add the run of the whole workflow, from the sources to the files of the crate."""
        spans = [_times(record) for record in self.found.records.values()]
        kept = [path for path in sorted(self.found.artefacts) if self._is_copied(path)]
        run = self.crate.add_action(
            workflow,
            "#run",
            object=self._files(sorted(self.found.sources)),
            result=self._files(kept or sorted(self.found.artefacts)),
            properties={
                "@type": "CreateAction",
                "name": f"Run of the workflow for {self.root.name}",
                "description": f"{len(actions)} steps, each with its record",
                **_span(min(began for began, _ in spans), max(ended for _, ended in spans)),
            },
        )
        workflow["hasPart"] = list(self.tools.values())
        self.crate.root_dataset["mentions"] = [run, *actions]
        return run


def build(found: Findings, root: Root, licence: str | None = None) -> ROCrate:
    """Return the crate of what an audit found.

    Args:
        found: without problems.
        root: the results root that was audited.
        licence: address of the licence of the results; None: not stated.

    Raises:
        UserError: the Snakefile is not where the study ran.
    """
    builder = _Builder(found, root, licence)
    workflow = builder.add_workflow()
    if os.path.isfile(marker := os.path.join(root.path, STUDY)):
        builder.file(marker)
    builder.add_run(workflow, builder.add_actions())
    return builder.crate


def _inside(name: str) -> str:
    """Return how a file is called in the crate: never with a way out of it."""
    parts = (part for part in Path(name).parts if part not in (os.sep, os.pardir))
    return "/".join(parts)


def _format(name: str) -> dict[str, str]:
    return {"encodingFormat": mimetypes.guess_type(name)[0] or "application/octet-stream"}


def _span(began: datetime, ended: datetime) -> dict[str, str]:
    return {
        "startTime": began.isoformat(timespec="seconds"),
        "endTime": ended.isoformat(timespec="seconds"),
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }


def _times(record: Record) -> tuple[datetime, datetime]:
    began = datetime.fromisoformat(record.content["started"])
    return began, began + timedelta(seconds=float(record.content["seconds"]))
