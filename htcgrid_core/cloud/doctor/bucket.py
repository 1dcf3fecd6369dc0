"""The bucket: reachable, private, encrypted, and with no rule that deletes what is in use or on hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from htcgrid_core.adapters.aws.resources.bucket_settings import BucketSettings
from htcgrid_core.adapters.aws.resources.buckets import SESSION_PREFIX
from htcgrid_core.local.doctor.finding import Findings, ok, problem, warning
from htcgrid_core.services.sweep import CALLABLES, PACKAGES, SHARED

ANEW = "`htcgrid aws bootstrap` or Terraform makes it"
LASTING = (CALLABLES, PACKAGES, SHARED)  # blobs that no session owns


def reachable(bucket: BucketSettings) -> Findings:
    """Whether it is there."""
    if bucket.exists():
        yield ok("bucket", f"{bucket.name} is there")
    else:
        yield problem("bucket", f"{bucket.name} does not exist", ANEW)


def private(bucket: BucketSettings) -> Findings:
    """Whether it can be made public: what agents run is in it."""
    if bucket.is_private():
        yield ok("bucket access", "public access is blocked")
    else:
        text = f"public access to {bucket.name} is not blocked altogether"
        yield warning("bucket access", text, "block all public access to it: `htcgrid aws bootstrap` does")


def encryption(bucket: BucketSettings) -> Findings:
    """By what objects are encrypted at rest."""
    how = bucket.encryption()
    if how:
        yield ok("bucket encryption", how)
    else:
        text = f"{bucket.name} has no encryption at rest of its own"
        yield warning("bucket encryption", text, "encrypt it by default: `htcgrid aws bootstrap` does")


def versioning(bucket: BucketSettings) -> Findings:
    """Whether what is deleted is kept as an old version."""
    yield ok("bucket versioning", bucket.versioning() or "never enabled")


def lifecycle(bucket: BucketSettings) -> Findings:
    """Rules that delete: none what no session owns, nor sessions, of which the bucket knows not what is on hold."""
    rules = [rule for rule in bucket.lifecycle() if rule.get("Status") == "Enabled" and not _is_about_tags(rule)]
    expiring = [(_prefix(rule), rule["Expiration"]["Days"]) for rule in rules if "Days" in rule.get("Expiration", {})]
    found = list(_wrong(bucket, expiring))
    yield from found or [ok("bucket lifecycle", f"no rule expires {', '.join((SESSION_PREFIX, *LASTING))}")]
    if bucket.keeps_versions and not any("NoncurrentVersionExpiration" in rule for rule in rules):
        text = f"{bucket.name} keeps a version of all that is deleted, and no rule expires those"
        yield warning("bucket lifecycle", text, "suspend versioning, or expire noncurrent versions")


def _wrong(bucket: BucketSettings, expiring: Sequence[tuple[str, int]]) -> Findings:
    for prefix, days in expiring:
        text = f"a rule of {bucket.name} deletes what begins with {prefix!r} after {days} days"
        if any(_overlap(prefix, blobs) for blobs in LASTING):
            advice = f"let no rule expire {', '.join(LASTING)}"
            yield problem("bucket lifecycle", f"{text}, though it may be used", advice)
        elif _overlap(prefix, SESSION_PREFIX):
            advice = "let agents delete it: `htcgrid aws bootstrap` and Terraform make no such rule any more"
            yield problem("bucket lifecycle", f"{text}, also what is on legal hold or kept for longer", advice)


def _is_about_tags(rule: Any) -> bool:
    """Whether a rule is about objects with some tag; ours have none."""
    found = rule.get("Filter", {})
    return "Tag" in found or "Tags" in found.get("And", {})


def _prefix(rule: Any) -> str:
    """To which keys a rule applies: older rules have it beside their filter, others within And."""
    found = rule.get("Filter", {})
    return str(found.get("Prefix") or found.get("And", {}).get("Prefix") or rule.get("Prefix") or "")


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


LOOKS: Sequence[tuple[str, str, Any]] = (
    ("bucket access", "s3:GetBucketPublicAccessBlock", private),
    ("bucket encryption", "s3:GetEncryptionConfiguration", encryption),
    ("bucket versioning", "s3:GetBucketVersioning", versioning),
    ("bucket lifecycle", "s3:GetLifecycleConfiguration", lifecycle),
)
