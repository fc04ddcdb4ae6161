"""A task: what somebody who speaks to a machine wants. The models are plain text classifiers."""

from lit_plugins.models.kinds import Kind
from lit_plugins.records import TASKS, RecordTask

INTENT = Kind(
    task="intent",
    heads=("ForSequenceClassification",),
    what="classifier of utterances",
    auto="AutoModelForSequenceClassification",
    model="hf_sequence:HFSequenceClassifier",  # or a class of your own
    arguments={"fields": ("utterance",)},
    component="classifiers:sequence_models",  # or a function of your own
    sample={"utterance": "Play something quiet."},
    layout="utterances",
)

_OURS = TASKS["text-classification"].fields
UTTERANCES = RecordTask(
    name="intent",
    noun="utterance",
    fields={"utterance": _OURS["text"], "label": _OURS["label"]},
    needs=(("utterance",),),
    shown_by=("utterance",),
    line="utterance",
)
