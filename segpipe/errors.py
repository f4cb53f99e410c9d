"""Every error segpipe raises on purpose, as one tree.

::

    SegpipeError
    ├── SlideError                what is wrong with a slide
    │   ├── SlideNotFound         (FileNotFoundError)
    │   ├── SlideNotReadable      (PermissionError)
    │   ├── SlideCorrupt          (OSError)     damaged, truncated, empty
    │   ├── SlideUnsupported      (ValueError)  sound, but not H&E or no known format
    │   ├── SlideTooLarge         (ValueError)  declares more pixels than is sane
    │   └── SlideChanged          (OSError)     replaced while it was being read
    ├── PlanRefused               (ValueError)  what a plan refuses before anything runs
    │   ├── MppMissing, MppImplausible
    │   ├── NoTissue
    │   └── BudgetExceeded        memory or disk
    ├── OutputError               what is wrong with the output folder
    │   ├── OutputNotWritable     (PermissionError)
    │   │   └── DiskFull          while a slide is worked on
    │   ├── OutputNotOurs         (FileExistsError)
    │   └── StoreDamaged          (OSError)     a chunk or receipt that can't be trusted
    ├── SettingsError             (ValueError)  unknown or contradictory settings
    │   └── UnknownNetwork        (LookupError)
    ├── WeightsError              (ValueError)  damaged, foreign or unsafe weights
    ├── DatasetError              (ValueError)  a manifest or annotation that won't do
    ├── TrainingStopped           (ArithmeticError)  NaN loss and the like
    ├── StageFailed               (RuntimeError)  units that could not be computed
    │   └── StageStalled          workers on which nothing moved for long
    ├── MapsInvalid               (ArithmeticError)  maps that are no numbers
    └── ShapeMismatch             (ValueError)

Each message says what was asked, what was found, with the numbers, and the remedy.
Each class also inherits the natural builtin, so callers may catch either.
"""


class SegpipeError(Exception):
    """Root of every error that segpipe raises on purpose."""


class SlideError(SegpipeError):
    """Something is wrong with a slide."""


class SlideNotFound(SlideError, FileNotFoundError):
    """No file or folder at the slide's path."""


class SlideNotReadable(SlideError, PermissionError):
    """The slide exists but may not be read."""


class SlideCorrupt(SlideError, OSError):
    """The slide is damaged, truncated or empty."""


class SlideUnsupported(SlideError, ValueError):
    """The file is sound but no reader takes it, or it is not brightfield RGB."""


class SlideTooLarge(SlideError, ValueError):
    """The slide declares more pixels than any real slide has."""


class SlideChanged(SlideError, OSError):
    """The slide was replaced or changed while it was being read."""


class PlanRefused(SegpipeError, ValueError):
    """The plan can't be carried out; nothing has been written."""


class MppMissing(PlanRefused):
    """The slide doesn't say its resolution and none was given."""


class MppImplausible(PlanRefused):
    """A resolution that no microscope scanner has, or that the network can't use."""


class NoTissue(PlanRefused):
    """The tissue mask is empty."""


class BudgetExceeded(PlanRefused):
    """The plan needs more memory or disk than there is."""


class OutputError(SegpipeError):
    """Something is wrong with the output folder."""


class OutputNotWritable(OutputError, PermissionError):
    """The output folder can't be made or written."""


class DiskFull(OutputNotWritable):
    """Nothing more can be written; what is finished is kept."""


class OutputNotOurs(OutputError, FileExistsError):
    """The output folder holds something else, or another run."""


class StoreDamaged(OutputError, OSError):
    """Something stored can't be trusted.

    Parameters
    ----------
    message
        The sentence for the user.
    array
        What is damaged, as stages name it, where a stage can make it anew.
    box
        y0, x0, y1, x1 in canvas pixels of what is damaged in it; None is all of it.
    """

    def __init__(
        self,
        message: str,
        *,
        array: str | None = None,
        box: tuple[int, int, int, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.array = array
        self.box = box


class SettingsError(SegpipeError, ValueError):
    """Settings that are unknown or contradict each other."""


class UnknownNetwork(SettingsError, LookupError):
    """No network of that name."""


class WeightsError(SegpipeError, ValueError):
    """Weights that are damaged, unsafe, or of another network."""


class DatasetError(SegpipeError, ValueError):
    """A manifest or an annotated image that can't be trained or evaluated on."""


class TrainingStopped(SegpipeError, ArithmeticError):
    """Training reached a state it can't go on from."""


class StageFailed(SegpipeError, RuntimeError):
    """Units of a stage that could not be computed."""


class StageStalled(StageFailed):
    """Workers on which no unit of a stage ended for long."""


class ShapeMismatch(SegpipeError, ValueError):
    """Arrays that must agree in shape don't."""


class MapsInvalid(SegpipeError, ArithmeticError):
    """Maps of a network that are no numbers, or not on the scale of stored maps."""
