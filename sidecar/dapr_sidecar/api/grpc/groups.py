"""The allow-list group of each method of ``dapr.proto.runtime.v1.Dapr``."""

from __future__ import annotations

from collections.abc import Mapping

_NAMES: Mapping[str, tuple[str, ...]] = {
    "v1/invoke": ("InvokeService",),
    "v1/state": (
        "GetState",
        "GetBulkState",
        "SaveState",
        "DeleteState",
        "DeleteBulkState",
        "ExecuteStateTransaction",
    ),
    "v1alpha1/state": ("QueryStateAlpha1",),
    "v1/publish": ("PublishEvent", "BulkPublishEvent"),
    "v1alpha1/publish": ("BulkPublishEventAlpha1",),
    "v1alpha1/subscribe": ("SubscribeTopicEventsAlpha1",),
    "v1/bindings": ("InvokeBinding",),
    "v1/secrets": ("GetSecret", "GetBulkSecret"),
    "v1/actors": (
        "RegisterActorTimer",
        "UnregisterActorTimer",
        "RegisterActorReminder",
        "UnregisterActorReminder",
        "UnregisterActorRemindersByType",
        "ListActorReminders",
        "GetActorReminder",
        "GetActorState",
        "ExecuteActorStateTransaction",
        "InvokeActor",
    ),
    "v1alpha1/actors": ("SubscribeActorEventsAlpha1",),
    "v1/metadata": ("GetMetadata", "SetMetadata"),
    "v1/configuration": (
        "GetConfiguration",
        "SubscribeConfiguration",
        "UnsubscribeConfiguration",
    ),
    "v1alpha1/configuration": (
        "GetConfigurationAlpha1",
        "SubscribeConfigurationAlpha1",
        "UnsubscribeConfigurationAlpha1",
    ),
    "v1alpha1/lock": ("TryLockAlpha1",),
    "v1alpha1/unlock": ("UnlockAlpha1",),
    "v1alpha1/crypto": ("EncryptAlpha1", "DecryptAlpha1"),
    "v1alpha1/subtlecrypto": (
        "SubtleGetKeyAlpha1",
        "SubtleEncryptAlpha1",
        "SubtleDecryptAlpha1",
        "SubtleWrapKeyAlpha1",
        "SubtleUnwrapKeyAlpha1",
        "SubtleSignAlpha1",
        "SubtleVerifyAlpha1",
    ),
    "v1/jobs": ("ScheduleJob", "GetJob", "DeleteJob", "DeleteJobsByPrefix", "ListJobs"),
    "v1alpha1/jobs": (
        "ScheduleJobAlpha1",
        "GetJobAlpha1",
        "DeleteJobAlpha1",
        "DeleteJobsByPrefixAlpha1",
        "ListJobsAlpha1",
    ),
    "v1/shutdown": ("Shutdown",),
    "v1alpha1/conversation": ("ConverseAlpha1",),
    "v1alpha2/conversation": ("ConverseAlpha2",),
}
_WORKFLOW_VERBS = ("Start", "Get", "Purge", "Terminate", "Pause", "Resume", "RaiseEvent")

GROUPS: Mapping[str, str] = {
    **{name: group for group, names in _NAMES.items() for name in names},
    **{f"{verb}WorkflowAlpha1": "v1alpha1/workflows" for verb in _WORKFLOW_VERBS},
    **{f"{verb}WorkflowBeta1": "v1beta1/workflows" for verb in _WORKFLOW_VERBS},
}
"""Method name (without the service) → group."""
