"""Versions: listed, promoted, rolled back, kept."""

import asyncio
from typing import Any

from docarray import DocList
from jina import requests

from executors.documents import Report
from executors.endpoints.tuner import TunerEndpoints, reports
from executors.parameters import parse
from finetuner.lifecycle.change_options import AuditOptions, Change, ChosenVersion, KeepOptions
from finetuner.settings import Options


class VersionEndpoints(TunerEndpoints):
    """Tells of versions, and changes which one serves."""

    @requests(on="/models", request_schema=DocList[Report], response_schema=DocList[Report])
    async def models(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Return a Report for each version, the oldest first; ``tags['active']`` tells which one serves."""
        parse(Options, parameters, where="/models")
        return reports(await asyncio.to_thread(self._service.versions.models), "version")

    @requests(on="/audit", request_schema=DocList[Report], response_schema=DocList[Report])
    async def audit(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Return who registered, promoted, rolled back, kept and deleted which version, the last entry last."""
        options = parse(AuditOptions, parameters, where="/audit")
        return reports(await asyncio.to_thread(self._service.versions.audit, options.last), "id")

    @requests(on="/promote", request_schema=DocList[Report], response_schema=DocList[Report])
    async def promote(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Serve the version that ``parameters['version']`` names, gate or not."""
        chosen = parse(ChosenVersion, parameters, where="/promote")
        version = await asyncio.to_thread(
            self._service.versions.promote, chosen.version, by=chosen.who("/promote")
        )
        return DocList[Report]([Report(id=version, tags={"version": version, "active": True})])

    @requests(on="/rollback", request_schema=DocList[Report], response_schema=DocList[Report])
    async def rollback(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Serve the version that was active before this one."""
        change = parse(Change, parameters, where="/rollback")
        version = await asyncio.to_thread(self._service.versions.rollback, by=change.who("/rollback"))
        return DocList[Report]([Report(id=version, tags={"version": version, "active": True})])

    @requests(on="/keep", request_schema=DocList[Report], response_schema=DocList[Report])
    async def keep(self, docs: DocList[Report], parameters: dict[str, Any], **_: Any) -> DocList[Report]:
        """Have the version that ``parameters['version']`` names kept, however old it gets, or no longer."""
        options = parse(KeepOptions, parameters, where="/keep")
        who = options.who("/keep")
        version = await asyncio.to_thread(self._service.versions.keep, options.version, options.kept, by=who)
        return DocList[Report]([Report(id=version, tags={"version": version, "kept": options.kept})])
