"""What stands on the command line becomes slides with ids of their own."""

import pytest

from flows.inputs import read_inputs
from flows.manifests import read_manifest
from segpipe.config import Settings
from segpipe.errors import SettingsError, SlideNotFound
from segpipe.stages.finished import Asked, Done, write_done
from segpipe.stages.grounds import content_of
from segpipe.stages.known import KnownSlides
from segpipe.stages.quarantine import Quarantine
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger


@pytest.fixture
def slides(tmp_path):
    """Two files of one name with different content, and a third."""
    for name, content in {
        "a/x y.tif": b"1",
        "b/x y.tif": b"2",
        "b/z.svs": b"3",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return tmp_path


@pytest.fixture
def manifest(tmp_path):
    def write(text):
        path = tmp_path / "cohort.csv"
        path.write_text(text)
        return path

    return write


def ids(paths):
    return [slide.id for slide in read_inputs(paths).slides]


def test_one_file_is_no_cohort_and_is_called_by_its_name(slides):
    inputs = read_inputs([slides / "a" / "x y.tif"])
    assert not inputs.is_cohort
    assert [slide.id for slide in inputs.slides] == ["x_y"]


def test_slides_of_one_name_are_told_apart_by_content_in_any_order(slides):
    paths = [slides / "a" / "x y.tif", slides / "b" / "x y.tif", slides / "b" / "z.svs"]
    forward, backward = ids(paths), ids(paths[::-1])
    assert forward == backward[::-1]
    assert len(set(forward)) == 3
    assert forward[2] == "z"
    assert all(one.startswith("x_y-") and len(one) == 12 for one in forward[:2])


def test_copies_of_one_slide_are_told_apart_too(slides):
    copy = slides / "b" / "x y.tif"
    copy.write_bytes((slides / "a" / "x y.tif").read_bytes())
    assert len(set(ids([slides]))) == 3


def test_a_path_named_twice_is_one_slide(slides):
    path = slides / "b" / "z.svs"
    detour = slides / "a" / ".." / "b" / "z.svs"
    assert ids([path, detour, slides / "b"]).count("z") == 1


def test_results_that_lie_among_the_slides_are_no_slides(slides):
    layout = Layout(slides / "out")
    layout.marker.parent.mkdir(parents=True)
    layout.marker.write_text("{}")
    layout.overlay("z").parent.mkdir()
    layout.overlay("z").write_bytes(b"a picture")
    assert len(ids([slides])) == 3


def test_a_folder_without_slides_is_empty_and_may_be_refused(tmp_path):
    inputs = read_inputs([tmp_path])
    assert inputs.slides == ()
    with pytest.raises(SlideNotFound, match="No slide in folder"):
        inputs.refuse_empty()


def test_an_inbox_that_is_not_there_is_refused_and_a_missing_slide_is_not(tmp_path):
    with pytest.raises(SlideNotFound, match="no file or folder inbox"):
        read_inputs([tmp_path / "inbox"])
    assert ids([tmp_path / "gone.svs"]) == ["gone"]


def test_a_manifest_says_what_files_do_not(slides, manifest):
    path = manifest(
        "# our cohort\n"
        "path;slide_id;mpp;stain;tissue_mask\n"
        "a/x y.tif;one;0.25;HE\n"
        "\n"
        "b/z.svs;;;HE;masks/z.png\n"
    )
    inputs = read_inputs([path])
    first, second = inputs.slides
    assert inputs.is_cohort
    assert (first.id, first.mpp, first.tissue_mask) == ("one", 0.25, None)
    assert (second.id, second.mpp) == ("z", None)
    assert second.path == slides / "b" / "z.svs"
    assert second.tissue_mask == slides / "masks" / "z.png"
    assert "stain" in inputs.notes[0]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "is empty"),
        ("slide,mpp\nx,1\n", "line 1.*'path'"),
        ("path,path\nx,y\n", "line 1.*each once"),
        ("path\n", "lists no slide"),
        ("path,mpp\nx,0.5\ny,big\n", "line 3: mpp 'big'"),
        ("path,mpp\nx,-1\n", "line 2: mpp '-1'"),
        ("path,slide_id\nx,../../y\n", r"line 2: slide_id '\.\./\.\./y'"),
        ("path,mpp\n,1\n", "line 2: no path"),
        ("path\na,b\n", "line 2: 2 values for 1 columns"),
    ],
)
def test_a_faulty_manifest_is_refused_by_line(manifest, text, named):
    with pytest.raises(SettingsError, match=named):
        read_manifest(manifest(text))


def test_an_id_given_to_two_slides_is_refused(manifest):
    with pytest.raises(SettingsError, match="Give each its own"):
        read_inputs([manifest("path,slide_id\na.svs,one\nb.svs,One\n")])


def test_a_slide_listed_twice_but_differently_is_refused(manifest):
    with pytest.raises(SettingsError, match="listed twice, and not alike"):
        read_inputs([manifest("path,mpp\na.svs,0.25\na.svs,0.5\n")])


@pytest.mark.usefixtures("slides")
def test_a_given_id_stays_and_the_made_one_steps_aside(manifest):
    path = manifest("path,slide_id\na/x y.tif,z\nb/z.svs,\n")
    given, made = ids([path])
    assert given == "z"
    assert made.startswith("z-")


@pytest.fixture
def asked(tmp_path):
    return Asked.of(Settings(), Layout(tmp_path / "out"))


def night(paths, asked):
    """Read the inputs as a run does, and leave what it leaves; return the inputs."""
    inputs = read_inputs(paths, KnownSlides(asked=asked))
    for slide in inputs.slides:
        content = content_of(slide, asked.settings)
        grounds = asked.grounds(slide).model_copy(update={"content": content})
        ledger = Ledger(asked.layout, slide.id)
        ledger.folder.mkdir(parents=True, exist_ok=True)
        write_done(ledger, Done(result_key="", grounds=grounds))
    return inputs


def test_a_slide_keeps_its_id_when_another_of_its_name_comes(slides, asked):
    first, second = slides / "a" / "x y.tif", slides / "b" / "x y.tif"
    assert night([first], asked).slides[0].id == "x_y"
    both = night([first, second], asked).slides
    assert both[0].id == "x_y"
    assert both[1].id.startswith("x_y-")
    assert [one.id for one in night([second, first], asked).slides] == [
        both[1].id,
        "x_y",
    ]
    assert night([second], asked).slides[0].id == both[1].id


def test_a_newcomer_by_itself_does_not_take_the_id_of_another(slides, asked):
    first, second = slides / "a" / "x y.tif", slides / "b" / "x y.tif"
    night([first], asked)
    inputs = night([second], asked)
    assert inputs.slides[0].id.startswith("x_y-")
    assert str(first) in inputs.notes[0]
    assert inputs.slides[0].id in inputs.notes[0]
    assert night([second], asked).notes == ()


def test_slides_that_came_together_keep_their_ids_alone(slides, asked):
    paths = [slides / "a" / "x y.tif", slides / "b" / "x y.tif"]
    together = [one.id for one in night(paths, asked).slides]
    assert [night([path], asked).slides[0].id for path in paths] == together


def test_a_slide_that_was_moved_keeps_its_id(slides, asked):
    paths = [slides / "a" / "x y.tif", slides / "b" / "x y.tif"]
    before = [one.id for one in night(paths, asked).slides]
    moved = slides / "c" / "x y.tif"
    moved.parent.mkdir()
    paths[0].rename(moved)
    assert night([moved], asked).slides[0].id == before[0]


def test_a_slide_that_was_scanned_again_in_its_place_keeps_its_id(slides, asked):
    path = slides / "b" / "z.svs"
    night([path], asked)
    path.write_bytes(b"scanned again")
    assert night([path], asked).slides[0].id == "z"


def test_an_id_of_a_slide_that_is_gone_is_free(slides, asked):
    path = slides / "a" / "x y.tif"
    night([path], asked)
    path.unlink()
    assert night([slides / "b" / "x y.tif"], asked).slides[0].id == "x_y"


def test_a_slide_that_could_not_be_read_keeps_its_id_too(slides, asked):
    first, second = read_inputs([slides / "a", slides / "b" / "z.svs"]).slides
    error = SlideNotFound("no slide")
    record = Quarantine.of(first, error, stage="plan", grounds=None)
    asked.layout.quarantine("x").parent.mkdir(parents=True)
    record.write(asked.layout)
    other = slides / "b" / "x y.tif"
    taken = read_inputs([other], KnownSlides(asked=asked)).slides[0]
    assert taken.id.startswith("x_y-")
    same = read_inputs([first.path, second.path], KnownSlides(asked=asked)).slides
    assert [one.id for one in same] == ["x_y", "z"]


def test_a_given_id_wins_over_one_that_is_known(slides, manifest, asked):
    night([slides / "a" / "x y.tif"], asked)
    path = manifest("path,slide_id\nb/z.svs,x_y\na/x y.tif,\n")
    given, made = night([path], asked).slides
    assert given.id == "x_y"
    assert made.id.startswith("x_y-")
