"""The mistakes a user can make, each told in one line: what was got, what was expected, what to do."""


class AnomalyError(ValueError):
    """A mistake of input or settings that the person at the keyboard can mend.

    `exit_code` is what the command line ends with: 2 for wrong arguments, 1 for work that failed.
    """

    exit_code = 2


class MissingPackage(AnomalyError):
    """What was asked for needs a package that is an extra of this project and is not installed."""


class UnreadableImage(AnomalyError):
    """One file that cannot be used; scoring names it in `errors.csv` and goes on with the others."""

    exit_code = 1


class CohortError(AnomalyError):
    """A table or a folder of images that cannot be used as a cohort."""

    exit_code = 1


class RunError(AnomalyError):
    """A run folder that is damaged, was edited by hand, or was written by another version."""

    exit_code = 1


class EvaluationError(AnomalyError):
    """Scores and outcomes that allow no honest figure."""

    exit_code = 1


class TrainingError(AnomalyError):
    """A training that cannot go on, such as a loss that is no longer a number."""

    exit_code = 1


class ClusterError(AnomalyError):
    """A cluster that is not there, whose workers cannot do the work, or that was lost on the way."""

    exit_code = 1
