"""Every error that Finetuner raises on purpose.

    FinetunerError
    ├── OptionError               an option or request parameter: unknown, ill-typed, out of range
    ├── MatchDataError
    │   ├── ContentError          a document whose content is missing, mixed, ill-shaped or not finite
    │   ├── LabelError            a label that is no number, or judgements that cannot be told apart
    │   ├── SourceError           a file or download that is missing, damaged or cut short
    │   ├── UnknownCollectionError
    │   ├── ChangedDataError      match data that is no longer what was read before: some of it was deleted
    │   └── StreamError           a stream of documents that ended before its last frame
    ├── TrainingError
    │   ├── NothingToLearnError   match data without one anchor that has a positive and a negative
    │   ├── DivergedError         a loss that is no longer finite
    │   └── UnknownRunError
    └── ServingError
        ├── EncoderError          an encoder that cannot be built, or that takes other content
        ├── UnknownVersionError
        ├── NotWarmError          a version that a request names, and that is not loaded here
        ├── UnknownSpaceError     a space that no map leads into from the version that answers
        ├── DamagedVersionError   a registered version whose files are not what was registered
        ├── OtherVersionError     embeddings of another version than those that they would be compared with
        ├── RegistryError         a registry that cannot be reached, read or written
        ├── ReplicaError          a change asked of a replica that only follows the one that trains
        └── UnknownEndpointError

The class name and the message travel over the wire, so both are part of the interface. A message says
where, what was given, what is accepted and, where it helps, what to do next.
"""


class FinetunerError(Exception):
    """Root of the tree: catch this to catch everything that Finetuner raises on purpose."""


class OptionError(FinetunerError):
    """An option or a request parameter is unknown, has the wrong type or is out of range."""


class MatchDataError(FinetunerError):
    """Match data cannot be read or used."""


class ContentError(MatchDataError):
    """A document's content is missing, of another kind or shape than the rest, or not finite."""


class LabelError(MatchDataError):
    """A label is not a number, or an anchor's judgements contradict each other."""


class SourceError(MatchDataError):
    """A source file or download is missing, damaged or cut short."""


class UnknownCollectionError(MatchDataError):
    """There is no collection of that name."""


class ChangedDataError(MatchDataError):
    """Match data at a position is no longer what was read before: some of it was deleted since."""


class StreamError(MatchDataError):
    """A stream of documents ended without its last frame, or is not what was announced there."""


class TrainingError(FinetunerError):
    """A run cannot start or go on."""


class NothingToLearnError(TrainingError):
    """The match data holds no anchor from which a loss could learn."""


class DivergedError(TrainingError):
    """The loss is no longer finite."""


class UnknownRunError(TrainingError):
    """There is no run of that id."""


class ServingError(FinetunerError):
    """An encoder or a model version cannot serve."""


class EncoderError(ServingError):
    """An encoder cannot be built, or was given content of a kind or shape that it does not take."""


class UnknownVersionError(ServingError):
    """There is no model version of that name."""


class NotWarmError(ServingError):
    """A request names a version that is not loaded in this process."""


class UnknownSpaceError(ServingError):
    """No map leads from the space of the version that answers into that of the one that was named."""


class DamagedVersionError(ServingError):
    """The files of a model version are not what was registered."""


class OtherVersionError(ServingError):
    """Embeddings are of another model version than those that they would be compared with."""


class RegistryError(ServingError):
    """The registry of versions cannot be reached, read or written."""


class ReplicaError(ServingError):
    """What only the service that holds the registry may do was asked of one that follows it."""


class UnknownEndpointError(ServingError):
    """No Executor of the Flow binds that endpoint."""
