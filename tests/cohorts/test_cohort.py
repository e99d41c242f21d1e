import os
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.data import get_testdata_file

from anomaly.cohorts.cohort import fingerprint, read_cohort, refuse_overlap, split
from anomaly.errors import CohortError, UnreadableImage
from anomaly.images import read


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def table(folder: Path, text: str, name: str = "cohort.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8-sig")
    return folder / name


# Folders


def test_a_folder_gives_ids_from_names_and_subjects_from_bids(tmp_path: Path) -> None:
    files(tmp_path, "sub-01/ses-1/anat_T1w.nii.gz", "sub-02_T1w.nii.gz", "007.png", "v1.2.png")
    cohort = read_cohort(tmp_path)
    assert list(cohort.columns) == ["id", "path", "subject"]
    assert dict(zip(cohort["id"], cohort["subject"], strict=True)) == {
        "007": "007",
        "sub-01_ses-1_anat_T1w": "sub-01",
        "sub-02_T1w": "sub-02",
        "v1.2": "v1.2",
    }
    assert all(Path(path).is_absolute() and Path(path).exists() for path in cohort["path"])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("s1/scan.png", "s1_scan"),
        ("images/scan.png", "scan"),
        ("scan one.png", "scan_one"),
        ("sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz", "sub-01_ses-2_T1w"),
        ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01_T1w"),
        ("derivatives/fs/sub-01/anat/sub-01_T1w.nii.gz", "derivatives_fs_sub-01_T1w"),
        ("sub-01/anat/T1w.nii.gz", "sub-01_anat_T1w"),
        ("sub-1/sub-12_T1w.nii.gz", "sub-1_sub-12_T1w"),
    ],
)
def test_an_id_does_not_depend_on_what_else_is_there(tmp_path: Path, path: str, name: str) -> None:
    files(tmp_path, path)
    assert list(read_cohort(tmp_path)["id"]) == [name]
    files(tmp_path, "s2/scan.png", "other/x/scan.png", "sub-02/anat/sub-02_T1w.nii.gz", "z.png", "s1/more.png")
    assert name in set(read_cohort(tmp_path)["id"])


def test_names_that_meet_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    files(tmp_path, "a/x.png", "b/x.png", "b/y.png")
    assert list(read_cohort(tmp_path)["id"]) == ["a_x", "b_x", "b_y"]
    files(tmp_path, "c/d_z.png", "c_d/z.png", "z.png")
    assert {"c__d_z", "c_d__z", "z"} < set(read_cohort(tmp_path)["id"])
    files(tmp_path, "e/f/w.png", "e_f/w.png", "q.png", "q.jpg")
    assert {"e__f__w", "e_f__w", "q.png", "q.jpg"} < set(read_cohort(tmp_path)["id"])
    files(tmp_path, "u v.png", "u_v.png")
    ids = list(read_cohort(tmp_path)["id"])
    assert len(ids) == len(set(ids)) == 12


def test_a_path_longer_than_a_file_name_may_be_is_cut_and_stays_one_of_its_own(tmp_path: Path) -> None:
    deep = "/".join(["a" * 60] * 4)
    files(tmp_path, f"{deep}/x.png", f"{deep}/y.png")
    ids = list(read_cohort(tmp_path)["id"])
    assert len(set(ids)) == 2 and all(len(name) <= 180 for name in ids)


def test_a_name_that_is_not_utf8_is_escaped_and_leads_back_to_the_file(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9 1.npy"
    with open(name, "wb") as file:
        np.save(file, np.full((4, 4), 7.0))
    cohort = read_cohort(tmp_path)
    assert list(cohort["id"]) == ["caf_xe9_1"] and cohort["path"][0] == str(tmp_path / "caf\\xe9 1.npy")
    cohort.to_csv(tmp_path / "cohort.csv", index=False)  # which is UTF-8
    image = read(Path(read_cohort(tmp_path / "cohort.csv")["path"][0]))
    assert image.pixels.max() == 7 and str(image.path) == cohort["path"][0]
    with open(name, "wb") as file:
        file.write(b"x")
    with pytest.raises(UnreadableImage) as told:
        read(Path(cohort["path"][0]))
    str(told.value).encode()


def test_accents_and_slashes_of_other_systems_find_the_file(tmp_path: Path) -> None:
    files(tmp_path, unicodedata.normalize("NFD", "Müller.png"), "scans/a.png")
    text = unicodedata.normalize("NFC", "path\nMüller.png\nscans\\a.png\n")
    paths = read_cohort(table(tmp_path, text))["path"]
    assert all(Path(path).exists() for path in paths)


def test_patterns_choose_paths_of_folders_and_of_tables(tmp_path: Path) -> None:
    files(tmp_path, "sub-1/a_T1w.png", "sub-1/a_FLAIR.png", "derivatives/a_T1w.png", "a_T1w.png")
    everything = "path\nsub-1/a_T1w.png\nsub-1/a_FLAIR.png\nderivatives/a_T1w.png\na_T1w.png\n"
    for source in (tmp_path, table(tmp_path, everything)):

        def taken(source: Path = source, **globs: object) -> list[str]:
            paths = read_cohort(source, **globs)["path"]  # type: ignore[arg-type]
            return sorted(Path(path).relative_to(tmp_path).as_posix() for path in paths)

        assert taken(match="*_T1w.png") == ["a_T1w.png", "derivatives/a_T1w.png", "sub-1/a_T1w.png"]
        assert taken(match=["*_T1w.png"], exclude=["derivatives"]) == ["a_T1w.png", "sub-1/a_T1w.png"]
        assert taken(match="sub-*/*") == ["sub-1/a_FLAIR.png", "sub-1/a_T1w.png"]
        assert taken(match="**/a_T1w.png", exclude="*/*") == ["a_T1w.png"]
        with pytest.raises(CohortError, match=r"none of its 4 (?:images|paths) fits --match \*\.nii; mend the pattern"):
            taken(match="*.nii")
    with pytest.raises(
        CohortError, match=r"1 of 4 files do not exist .*links to content that is not here: git annex get"
    ):
        (tmp_path / "a_T1w.png").unlink()
        (tmp_path / "a_T1w.png").symlink_to(".git/annex/objects/x.png")
        read_cohort(table(tmp_path, everything))


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("scans/*.png", {"a", "b"}),
        ("scans/**/*_T1w.nii.gz", {"sub-01_T1w", "sub-02_T1w"}),
        ("scans/sub-0[1]", {"sub-01_T1w", "sub-01_anat_other"}),
        ("scans/a.png", {"a"}),
        ("scans/series/1*.dcm", {"series"}),
        ("scans/odd[1].png", {"odd_1_"}),
    ],
)
def test_a_glob_and_one_image_are_taken_like_a_folder(tmp_path: Path, glob: str, names: set[str]) -> None:
    files(tmp_path / "scans", "a.png", "b.png", "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/other.nii.gz")
    files(tmp_path / "scans", "sub-02/anat/sub-02_T1w.nii.gz", "odd[1].png" if "odd" in glob else "sub-02/note.txt")
    if "series" in glob:
        data = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        (tmp_path / "scans" / "series").mkdir()
        for k in range(3):
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.{k}"
            data.ImagePositionPatient = [0, 0, k]
            data.save_as(tmp_path / "scans" / "series" / f"{k}.dcm")
    found = read_cohort(tmp_path / glob)
    assert set(found["id"]) == names and all(Path(path).exists() for path in found["path"])


def test_a_glob_that_fits_no_image_is_refused(tmp_path: Path) -> None:
    files(tmp_path, "note.txt", "a.png")
    for glob in ("*.jpg", "*.txt", "gone/*.png"):
        with pytest.raises(CohortError, match="fits"):
            read_cohort(tmp_path / glob)
    with pytest.raises(CohortError, match="does not fit --exclude a"):
        read_cohort(tmp_path / "a.png", exclude="a*")


def test_a_pattern_finds_the_subject(tmp_path: Path) -> None:
    files(tmp_path, "person7_bacteria_1.png", "person7_bacteria_2.png", "person12_virus_3.png")
    cohort = read_cohort(tmp_path, subject_pattern=r"(person\d+)_")
    assert list(cohort["subject"]) == ["person12", "person7", "person7"]
    with pytest.raises(CohortError, match="does not match 1 paths"):
        read_cohort(tmp_path, subject_pattern=r"(person\d+)_b")
    with pytest.raises(CohortError, match="has no group"):
        read_cohort(tmp_path, subject_pattern=r"person\d+")
    with pytest.raises(CohortError, match="no regular expression"):
        read_cohort(tmp_path, subject_pattern="(")


def test_an_empty_or_absent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="holds no image"):
        read_cohort(tmp_path)
    with pytest.raises(CohortError, match="no such folder"):
        read_cohort(tmp_path / "absent")


# Tables


def test_a_table_keeps_its_columns_and_leading_zeros(tmp_path: Path) -> None:
    files(tmp_path, "a.png", "b.png")
    cohort = read_cohort(table(tmp_path, "age,id,subject,path\n61,001,010,a.png\n62,002,011,b.png\n"))
    assert list(cohort.columns) == ["id", "path", "subject", "age"]
    assert list(cohort["id"]) == ["001", "002"] and list(cohort["subject"]) == ["010", "011"]
    assert list(cohort["path"]) == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert list(cohort["age"]) == [61, 62]


@pytest.mark.parametrize("column", ["path", "image", "file", "filename"])
def test_the_path_may_have_other_names_and_tabs_do(tmp_path: Path, column: str) -> None:
    files(tmp_path, "sub-3/a.png")
    cohort = read_cohort(table(tmp_path, f"{column}\tage\nsub-3/a.png\t5\n", "participants.tsv"))
    assert cohort.loc[0, ["id", "subject"]].tolist() == ["sub-3_a", "sub-3"]


def test_a_table_in_memory_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    given = pd.DataFrame({"file": ["a.png"], "patient": [7]})
    cohort = read_cohort(given, subject="patient")
    assert cohort.loc[0, ["id", "subject"]].tolist() == ["a", "7"]
    assert list(given.columns) == ["file", "patient"]


def test_a_named_column_is_the_subject(tmp_path: Path) -> None:
    files(tmp_path, "a.png", "b.png")
    path = table(tmp_path, "path,subject,patient\na.png,1,01\nb.png,2,01\n")
    assert list(read_cohort(path, subject="patient")["subject"]) == ["01", "01"]
    with pytest.raises(CohortError, match="no column 'person'; its columns are path, subject, patient"):
        read_cohort(path, subject="person")
    with pytest.raises(CohortError, match="give one of them"):
        read_cohort(path, subject="patient", subject_pattern="(.)")


def test_where_keeps_equal_rows_and_their_ids(tmp_path: Path) -> None:
    files(tmp_path, "train/a.png", "test/a.png")
    path = table(tmp_path, "path,split,label,site\ntrain/a.png,train,0,1\ntest/a.png,test,,x\n")
    for zero in ("0", "0.0"):
        cohort = read_cohort(path, where={"split": "train", "label": zero})
        assert list(cohort["id"]) == ["train_a"]
    assert list(read_cohort(path, where={"site": "1"})["id"]) == ["train_a"]
    with pytest.raises(CohortError, match="no row is left with split val; its values there are test, train"):
        read_cohort(path, where={"split": "val"})
    with pytest.raises(CohortError, match="no column 'fold'"):
        read_cohort(path, where={"fold": "1"})


def test_a_table_without_paths_tells_its_columns(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="no column 'path'; its columns are scan, age"):
        read_cohort(table(tmp_path, "scan,age\na.png,5\n"))


@pytest.mark.parametrize(
    "text, told",
    [
        ("path,id\na.png,1\nb.png,1\n", r"1 ids are there twice \(1\)"),
        ("path\na.png\na.png\n", "1 ids are there twice"),
        ("path,id\na.png,1/2\nb.png,1_2\n", "file names cannot hold"),
        ("path,id\na.png,1\nb.png,\n", "1 rows have no id"),
        ("path,subject\na.png,1\n,2\n", "1 rows have no path"),
        ("path,subject\na.png,\nb.png,2\n", "1 rows have no subject"),
        ("path\n", "has no rows"),
        ("", "no CSV"),
        ('path\n"a', "no CSV"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, told: str) -> None:
    files(tmp_path, "a.png", "b.png")
    with pytest.raises(CohortError, match=told):
        read_cohort(table(tmp_path, text))


def test_other_files_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"path\n\xff\xfe\0\1.png\n")
    with pytest.raises(CohortError, match="no text; save it as CSV"):
        read_cohort(tmp_path / "a.csv")
    with pytest.raises(CohortError, match="no such file"):
        read_cohort(tmp_path / "b.csv")


def test_missing_files_are_counted_or_kept(tmp_path: Path) -> None:
    files(tmp_path, "a.png")
    path = table(tmp_path, "path\na.png\nb.png\nc.png\nd.png\ne.png\n")
    with pytest.raises(CohortError, match=r"4 of 5 files .*b\.png, .*c\.png, .*d\.png, \.\.\."):
        read_cohort(path)
    assert list(read_cohort(path, missing="keep")["id"]) == list("abcde")
    with pytest.raises(CohortError, match="error, keep"):
        read_cohort(path, missing="skip")


def test_ids_are_made_safe(tmp_path: Path) -> None:
    files(tmp_path, "a.png", "b.png", "c.png")
    cohort = read_cohort(table(tmp_path, "path,id\na.png,../x/1\nb.png,Müller 2\nc.png,t=1.5+3\n"))
    assert list(cohort["id"]) == ["_x_1", "Müller_2", "t=1.5+3"]


# Splits


def test_a_split_keeps_subjects_whole_and_shares_right() -> None:
    subjects = [f"s{n}" for n in range(100) for _ in range(3)]
    parts = split(subjects, choose=0.1, calibrate=0.2)
    by_subject = pd.Series(parts).groupby(subjects).unique()
    assert (by_subject.map(len) == 1).all()
    assert by_subject.map(lambda part: part[0]).value_counts().to_dict() == {
        "train": 70,
        "calibrate": 20,
        "choose": 10,
    }


def test_a_split_depends_on_the_names_alone() -> None:
    # SHA-256 begins: d 18ac, c 2e7d, b 3e23, a ca97
    assert split(["a", "b", "c", "d"]).tolist() == ["train", "train", "calibrate", "choose"]
    assert split(["d", "d", "a", "c", "b"]).tolist() == ["choose", "choose", "train", "calibrate", "train"]


@pytest.mark.parametrize("choose, calibrate", [(0.5, 0.49), (0.01, 0.01), (0.9, 0.05), (0.05, 0.9)])
def test_three_subjects_fill_three_parts(choose: float, calibrate: float) -> None:
    assert set(split(["a", "b", "c"], choose=choose, calibrate=calibrate)) == {"train", "choose", "calibrate"}


def test_shares_of_zero_set_nobody_aside() -> None:
    assert set(split(["a"], choose=0, calibrate=0)) == {"train"}
    assert sorted(split(["a", "b"], choose=0)) == ["calibrate", "train"]


def test_too_few_subjects_and_bad_shares_are_refused() -> None:
    with pytest.raises(CohortError, match="there are 2 subjects; expected 3 or more"):
        split(["a", "b", "b"])
    for choose, calibrate in ((0.5, 0.5), (-0.1, 0.1), (float("nan"), 0.1)):
        with pytest.raises(CohortError, match="shares"):
            split(["a", "b", "c"], choose=choose, calibrate=calibrate)


def test_subjects_and_images_on_both_sides_are_named() -> None:
    run, given = Path("runs/knee"), pd.DataFrame({"subject": list("bcdef"), "path": list("BCDEF")})
    refuse_overlap(["a", "g"], given, run, ["A", "G"])
    with pytest.raises(CohortError, match=r"4 subjects are in both .*\(b, c, d, \.\.\.\).*\(runs/knee\)"):
        refuse_overlap(list("abcde"), given, run)
    with pytest.raises(CohortError, match=r"runs/knee knows 2 of these images \(B, \.\.\.\)"):
        refuse_overlap(["a"], given, run, list("ABC"))
    refuse_overlap(["a"], given[["subject"]], run)


def test_the_fingerprint_knows_ids_names_and_sizes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        files(tmp_path / folder, "a.png", "b.png")
    cohort = read_cohort(tmp_path / "one")
    assert fingerprint(cohort) == fingerprint(cohort[::-1]) == fingerprint(read_cohort(tmp_path / "two"))
    (tmp_path / "two" / "a.png").write_bytes(b"xy")
    assert fingerprint(cohort) != fingerprint(read_cohort(tmp_path / "two"))
    assert fingerprint(cohort) != fingerprint(cohort.assign(id=["a", "c"]))
    (tmp_path / "one" / "a.png").unlink()
    assert len(fingerprint(cohort)) == 64


def test_a_subject_called_na_keeps_that_name(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).touch()
    (tmp_path / "cohort.csv").write_text("path,subject\na.png,NA\nb.png,None\nc.png,007\n")
    assert list(read_cohort(tmp_path / "cohort.csv")["subject"]) == ["NA", "None", "007"]
    (tmp_path / "cohort.csv").write_text("path,subject\na.png,NA\nb.png,\nc.png,007\n")
    with pytest.raises(CohortError, match="1 rows have no subject"):
        read_cohort(tmp_path / "cohort.csv")
