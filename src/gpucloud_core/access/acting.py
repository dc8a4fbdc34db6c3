"""What a use case does with its actor besides asking what they may: name them in the audit row."""

from collections.abc import Mapping

from gpucloud_core.access.authorize import Forbidden
from gpucloud_core.access.model import Actor
from gpucloud_core.kernel.ids import ProjectId, UserId
from gpucloud_core.kernel.unit import AuditFact, Json


def fact_by(
    actor: Actor,
    *,
    action: str,
    target: str,
    project_id: ProjectId | None = None,
    result: str = "ok",
    changes: Mapping[str, Json] | None = None,
) -> AuditFact:
    """Return the audit row of what ``actor`` did to ``target`` in their tenant."""
    return AuditFact(
        action=action,
        target=target,
        result=result,
        tenant_id=actor.tenant_id,
        project_id=project_id,
        user_id=actor.user_id,
        actor=actor.username,
        via=actor.via,
        correlation_id=actor.correlation_id,
        ip=actor.ip,
        user_agent=actor.user_agent,
        changes=changes or {},
    )


def person(actor: Actor) -> UserId:
    """Return the user who acts.

    Raises:
        Forbidden: it is not a person, and this is for people only.
    """
    if actor.user_id is None:
        raise Forbidden("Only a person can do this, not a program.")
    return actor.user_id
