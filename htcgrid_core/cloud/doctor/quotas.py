"""Quotas of the account that bind before the grid does, beside what this grid may ask for at its largest."""

from __future__ import annotations

from typing import Any

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.errors import aws_errors
from htcgrid_core.domain import limits
from htcgrid_core.domain.errors import AccessDenied, GridError
from htcgrid_core.local.doctor.finding import Findings, ok, warning

HIGH_THROUGHPUT = "/ssm/parameter-store/high-throughput-enabled"
READS_A_SECOND = 40  # of parameters, in an account and region that has not asked for more
READS_OF_A_START = 3  # by an agent
CORES = {"L-1216C47A": "on demand", "L-34B43A08": "spot"}  # quotas of EC2: vCPUs of standard instances


def parameter_store(clients: Clients, agents: int) -> Findings:
    """Whether so many agents find the grid if all start at once; they look for it for ten minutes."""
    if _has_high_throughput(clients):
        yield ok("parameter store", "higher throughput is on")
        return
    seconds = agents * READS_OF_A_START / READS_A_SECOND
    text = f"{agents:,} agents that start at once read for {seconds:,.0f} s, at {READS_A_SECOND} reads a second"
    if seconds > limits.START_PATIENCE_SECONDS:
        advice = "turn on higher throughput: `high_parameter_throughput` of Terraform's data_plane"
        yield warning("parameter store", f"{text}: longer than they try", advice)
    else:
        yield ok("parameter store", text)


def _has_high_throughput(clients: Clients) -> bool:
    ssm = clients.ssm
    with aws_errors(f"SSM settings in {clients.region}"):
        return bool(ssm.get_service_setting(SettingId=HIGH_THROUGHPUT)["ServiceSetting"]["SettingValue"] == "true")


def cores(clients: Clients, needed: float) -> Findings:
    """Whether EC2 gives as many vCPUs as all pods of the largest fleet ask for: on demand and spot together."""
    if not needed:
        return
    found: dict[str, float] = {}
    quotas = clients.of("service-quotas", clients.region)
    for code, name in CORES.items():
        try:
            with aws_errors(f"Service Quotas in {clients.region}"):
                answer: Any = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)
        except AccessDenied as error:
            yield warning("vCPUs", f"not looked at: {error}", "allow servicequotas:GetServiceQuota")
            return
        except GridError as error:  # not every region has the service, nor does any emulator
            yield ok("vCPUs", f"not looked at: {error}")
            return
        found[name] = answer["Quota"]["Value"]
    text = f"{needed:,.0f} at most; quotas are " + " and ".join(f"{value:,.0f} {name}" for name, value in found.items())
    if needed > sum(found.values()):
        yield warning("vCPUs", text, "ask EC2 for more before the day on which they are needed")
    else:
        yield ok("vCPUs", text)
